"""`python -m benchmarks.supervised`: an epoch of the adaptive network on SHD-sized data, beside a plain loop over steps."""

import time
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from torch import Tensor
from torch.nn import functional

from policies.sequences import AdaptiveSRNN

SAMPLES = 8156  # of the training file
RATE = 0.012  # spikes per channel and step of 4 ms, about that of the real digits


@dataclass
class Config:
    """What is compared."""

    batches: int = 6
    """Steps of the optimiser that are timed."""
    batch_size: int = 64
    steps: int = 250
    channels: int = 700
    loss_steps: int = 20
    """Steps of the optimiser over which both losses are followed."""


def plain(model: AdaptiveSRNN, x: Tensor) -> Tensor:
    """Scores of the same network, computed as one would write it down: one step after the other, by autograd."""
    layers, readout = list(model.layers), model.readout
    states = [layer.rest(x.new_zeros(x.shape[1], layer.size)) for layer in layers]
    v = x.new_zeros(x.shape[1], readout.input.out_features)
    decay = torch.exp(-1.0 / readout.tau_mem)
    scores = torch.zeros_like(v)
    for t, now in enumerate(x):
        for i, layer in enumerate(layers):
            states[i] = layer.step(layer.input(now) + layer.recurrent(states[i][-1]), states[i])
            now = states[i][-1]
        v = decay * v + (1.0 - decay) * readout.input(now)
        if t >= model.skip:
            scores = scores + v.softmax(dim=-1)
    return scores


def learn(model: AdaptiveSRNN, fast: bool, data: list[tuple[Tensor, Tensor]]) -> tuple[list[float], list[float]]:
    """Losses and seconds of every step of the optimiser."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    losses, seconds = [], []
    for x, y in data:
        start = time.perf_counter()
        scores = model(x).scores if fast else plain(model, x)
        loss = functional.cross_entropy(scores, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.project()
        seconds.append(time.perf_counter() - start)
        losses.append(float(loss.detach()))
    return losses, seconds


def batches(config: Config, number: int, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """Random spikes and labels."""
    generator = torch.Generator().manual_seed(0)
    shape = (config.steps, config.batch_size, config.channels)
    return [
        ((torch.rand(shape, generator=generator) < RATE).to(dtype), torch.randint(20, shape[1:2], generator=generator))
        for _ in range(number)
    ]


def make(dtype: torch.dtype, channels: int) -> AdaptiveSRNN:
    torch.manual_seed(0)
    return AdaptiveSRNN(channels).to(dtype)


def main(config: Config) -> None:
    """Print the times, and how far the losses of both are apart."""
    models = {"fused": make(torch.float32, config.channels), "plain loop": make(torch.float32, config.channels)}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for i, batch in enumerate(batches(config, config.batches + 1, torch.float32)):
        for name, model in models.items():  # in turns, so that both meet the same noise
            _, took = learn(model, name == "fused", [batch])
            seconds[name] += took if i else []
    epoch = -(-SAMPLES // config.batch_size)
    print(f"T={config.steps}, batch {config.batch_size}, {config.channels}-128-128-20, {torch.get_num_threads()} threads")
    print(f"{'':12s}{'s/batch':>10s}{'s/epoch of 8,156':>18s}{'ratio':>8s}")
    ratio = np.divide(seconds["plain loop"], seconds["fused"])
    for name, own in seconds.items():
        last = f"{np.median(ratio):8.2f}" if name == "plain loop" else f"{1:8.2f}"
        print(f"{name:12s}{np.median(own):10.3f}{epoch * np.median(own):18.0f}{last}")
    print(f"ratio of the same batches: {ratio.min():.2f} to {ratio.max():.2f}")
    # In double precision, where no potential is within rounding of its threshold, both learn the same.
    small = Config(batch_size=16, steps=config.steps, channels=config.channels)
    data = batches(small, config.loss_steps, torch.float64)
    first, second = (np.array(learn(make(torch.float64, config.channels), fast, data)[0]) for fast in (True, False))
    print(f"losses of {len(first)} steps, {first[0]:.4f} to {first[-1]:.4f}, at most {abs(first - second).max():.1e} apart")


if __name__ == "__main__":
    main(tyro.cli(Config, prog="python -m benchmarks.supervised"))
