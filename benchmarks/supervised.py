"""`python -m benchmarks.supervised`: an epoch of the adaptive network on SHD-sized data, beside a plain loop over steps."""

import math
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor, nn
from torch.nn import functional

from policies.sequences import AdaptiveSRNN
from trainers.supervised.shd import SHDDataset
from trainers.supervised.shd_files import write_synthetic

Batch = tuple[Tensor, Tensor]


@dataclass
class Config:
    """What is compared."""

    samples: int = 8156
    """Made-up digits that are written and read: as many as the published training file has."""
    density: float = 6.0
    """How many times as many spikes they have as those of `synthetic-shd`; 6 fills about 3 % of the bins."""
    batches: int = 8
    """Steps of the optimiser that are timed; the epoch is extrapolated from them."""
    batch_size: int = 64
    """Samples per step."""
    loss_steps: int = 20
    """Steps of the optimiser over which both losses are followed, with batches of 16."""


class Spike(torch.autograd.Function):
    """1 where u > 0; for the gradient, half the sum of three Gaussians of Yin, Corradi & Bohte (2021)."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors

        def normal(mean: float, sd: float) -> Tensor:
            return torch.exp(-((u - mean) ** 2) / (2 * sd**2)) / (sd * math.sqrt(2 * math.pi))

        return grads[0] * (1.15 * normal(0.0, 0.5) - 0.15 * normal(0.5, 3.0) - 0.15 * normal(-0.5, 3.0)) / 2


class PlainLayer(nn.Module):
    """A recurrent layer of adaptive neurons, step by step."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.input, self.recurrent = nn.Linear(inputs, size), nn.Linear(size, size)
        self.tau_mem, self.tau_adapt = nn.Parameter(torch.empty(size)), nn.Parameter(torch.empty(size))

    def forward(self, x: Tensor) -> Tensor:
        """Spikes (T, B, N) under inputs (T, B, inputs)."""
        alpha, rho = torch.exp(-1.0 / self.tau_mem), torch.exp(-1.0 / self.tau_adapt)
        v = a = s = x.new_zeros(x.shape[1], len(alpha))
        spikes = []
        for now in x:
            a = rho * a + (1.0 - rho) * s
            theta = 0.01 + 1.8 * a
            v = alpha * v + (1.0 - alpha) * (self.input(now) + self.recurrent(s)) - theta * s
            s = Spike.apply(v - theta)
            spikes.append(s)
        return torch.stack(spikes)


class PlainReadout(nn.Module):
    """Leaky integrators, step by step."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, size)
        self.tau_mem, self.tau_adapt = nn.Parameter(torch.empty(size)), nn.Parameter(torch.empty(size), False)

    def forward(self, spikes: Tensor) -> Tensor:
        """Potentials (T, B, M) under spikes (T, B, inputs)."""
        decay = torch.exp(-1.0 / self.tau_mem)
        v = spikes.new_zeros(spikes.shape[1], len(decay))
        potentials = []
        for now in spikes:
            v = decay * v + (1.0 - decay) * self.input(now)
            potentials.append(v)
        return torch.stack(potentials)


class PlainSRNN(nn.Module):
    """The network as one would write it down with what torch offers, parameters named as those of `AdaptiveSRNN`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([PlainLayer(700, 128), PlainLayer(128, 128)])
        self.readout = PlainReadout(128, 20)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 20) of inputs (T, B, 700)."""
        for layer in self.layers:
            x = layer(x)
        return self.readout(x)[11:].softmax(dim=-1).sum(dim=0)

    @torch.no_grad()
    def project(self) -> None:
        for part in (*self.layers, self.readout):
            part.tau_mem.clamp_(1.0, 1e4)
            part.tau_adapt.clamp_(1.0, 1e4)


class Learner:
    """A network, its optimiser, and what a batch's scores are computed from."""

    def __init__(self, model: Any, scores: Callable[[Tensor], Tensor]) -> None:
        self.model, self.scores = model, scores
        self.optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
        self.losses: list[float] = []

    def step(self, x: Tensor, y: Tensor) -> None:
        """One step of the optimiser."""
        loss = functional.cross_entropy(self.scores(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.model.project()
        self.losses.append(float(loss.detach()))


def learners(dtype: torch.dtype) -> dict[str, Learner]:
    """Both networks with the same weights, from the bytes that the data set gives to scores."""
    torch.manual_seed(0)
    fused, plain = AdaptiveSRNN().to(dtype), PlainSRNN().to(dtype)
    plain.load_state_dict(fused.state_dict())
    return {"spikegym": Learner(fused, lambda x: fused(x).scores), "plain loop": Learner(plain, lambda x: plain(x.to(dtype)))}


def timed(config: Config, data: SHDDataset) -> None:
    """Print the time of an epoch, reading included, extrapolated from some batches."""
    rng = np.random.default_rng(0)
    both = learners(torch.float32)
    clocks = {"wall": time.perf_counter, "CPU": time.process_time}
    took: dict[str, list[list[float]]] = {name: [] for name in both}
    for i in range(config.batches + 1):
        items = rng.choice(len(data), config.batch_size, replace=False).tolist()
        for name, learner in both.items():  # in turns, so that both meet the same noise
            start = [clock() for clock in clocks.values()]
            learner.step(*data.__getitems__(items))
            if i:
                took[name].append([clock() - begun for clock, begun in zip(clocks.values(), start, strict=True)])
    epoch = -(-config.samples // config.batch_size)
    print(f"an epoch is {epoch} batches of {config.batch_size}, reading included; from {config.batches} of them:")
    print(f"{'':12s}" + "".join(f"{clock + ' s':>10s}{'ratio':>8s}{'least':>8s}{'most':>8s}" for clock in clocks))
    seconds = {name: np.array(times) for name, times in took.items()}
    for name, own in seconds.items():
        ratio = own / seconds["spikegym"]
        columns = (epoch * np.median(own, axis=0), np.median(ratio, axis=0), ratio.min(axis=0), ratio.max(axis=0))
        cells = zip(*columns, strict=True)
        print(f"{name:12s}" + "".join(f"{s:10.1f}{middle:8.2f}{least:8.2f}{most:8.2f}" for s, middle, least, most in cells))
    print(f"losses of these batches in single precision {apart(both)}")


def apart(both: dict[str, Learner]) -> str:
    """How far the losses of both networks are apart."""
    first, second = (np.array(learner.losses) for learner in both.values())
    return f"({first[0]:.4f} to {first[-1]:.4f}): at most {abs(first - second).max():.1e} apart"


def followed(config: Config, data: SHDDataset) -> None:
    """Print how far the losses are apart in double precision, where no potential is within rounding of its threshold."""
    rng = np.random.default_rng(1)
    both = learners(torch.float64)
    for _ in range(config.loss_steps):
        x, y = data.__getitems__(rng.choice(len(data), 16, replace=False).tolist())
        for learner in both.values():
            learner.step(x, y)
    print(f"losses of {config.loss_steps} batches of 16 in double precision {apart(both)}")


def main(config: Config) -> None:
    """Write digits, read them, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_synthetic(folder, config.samples, 1, density=config.density)
        written = time.perf_counter()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*made-up digits")
            data = SHDDataset(folder, validation="stratified")
        read = time.perf_counter()
    full = np.mean([data[i][0].float().mean() for i in range(0, len(data), max(1, len(data) // 50))])
    print(f"{config.samples:,} made-up digits, 250 steps, 700 channels, {full:.1%} of the bins filled; ", end="")
    print(f"written in {written - start:.0f} s, binned in {read - written:.0f} s")
    print(f"700-128-128-20, {torch.get_num_threads()} threads")
    timed(config, data)
    followed(config, data)


if __name__ == "__main__":
    main(tyro.cli(Config, prog="python -m benchmarks.supervised"))
