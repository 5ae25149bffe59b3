"""`python -m benchmarks.spiking`: our spiking layers and policies against other libraries', in turns in one run."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from policies.neurons import Neurons

SHAPES = ((4, 256, 256), (16, 256, 256), (100, 64, 1000))
ROUNDS = 7
REPEATS = 10  # in a round, of which the fastest counts


def ours() -> Callable[[torch.Tensor], torch.Tensor]:
    layer = Neurons(1, "lif", "arctan")
    return lambda x: layer(x)[0]


def snntorch() -> Callable[[torch.Tensor], torch.Tensor]:
    """snnTorch's Leaky in its documented loop; the decay and surrogate nearest to ours."""
    import snntorch as snn
    from snntorch import surrogate

    layer = snn.Leaky(beta=0.5, spike_grad=surrogate.atan(alpha=2.0), reset_mechanism="zero")

    def run(x: torch.Tensor) -> torch.Tensor:
        mem = layer.reset_mem()
        spikes = []
        for current in x:
            s, mem = layer(current, mem)
            spikes.append(s)
        return torch.stack(spikes)

    return run


def spikingjelly() -> Callable[[torch.Tensor], torch.Tensor]:
    """SpikingJelly's multi-step LIFNode on CPU: the same equation as ours."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    layer = neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan(alpha=2.0), step_mode="m")

    def run(x: torch.Tensor) -> torch.Tensor:
        functional.reset_net(layer)
        out: torch.Tensor = layer(x)
        return out

    return run


def time_once(run: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, weight: torch.Tensor) -> tuple[float, Any]:
    """Seconds of one forward and backward pass, with spikes and gradient."""
    x = x.clone().requires_grad_()
    start = time.perf_counter()
    spikes = run(x)
    (gradient,) = torch.autograd.grad(spikes, x, weight)
    return time.perf_counter() - start, (spikes.detach(), gradient)


def layers() -> None:
    """Print the table of layers."""
    peers: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"ours": ours()}
    for name, make in (("snnTorch Leaky", snntorch), ("SpikingJelly LIFNode", spikingjelly)):
        try:
            peers[name] = make()
        except ImportError:
            print(f"({name} is not installed)")
    print(f"{'(T, B, N)':>16s}" + "".join(f"{name:>24s}" for name in peers))
    for shape in SHAPES:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(shape, generator=generator) + 1.0
        weight = torch.randn(shape, generator=generator)
        times: dict[str, list[float]] = {name: [] for name in peers}
        results = {}
        for _ in range(ROUNDS):
            for name, run in peers.items():
                times[name].append(min(time_once(run, x, weight)[0] for _ in range(REPEATS)))
        for name, run in peers.items():  # in double precision, where no potential is within rounding of the threshold
            results[name] = time_once(run, x.double(), weight.double())[1]
        base = np.array(times["ours"])
        row = f"{shape!s:>16s}"
        for name in peers:
            same = ""
            if name == "SpikingJelly LIFNode":
                (s, g), (s0, g0) = results[name], results["ours"]
                same = " equal" if torch.equal(s, s0) and torch.allclose(g, g0, atol=1e-9) else " DIFFERENT"
            row += f"{np.median(times[name]) * 1e3:9.2f} ms {np.median(np.array(times[name]) / base):5.2f}x{same:>6s}"
        print(row)


def policies_of_td3() -> None:
    """Print the table of policies inside TD3: HalfCheetah-sized, 256-256, batch 256."""
    from gymnasium import Env, spaces
    from stable_baselines3 import TD3

    import policies  # noqa: F401

    class Sizes(Env[Any, Any]):
        """Spaces alone; it is never stepped."""

        observation_space = spaces.Box(-np.inf, np.inf, (17,), np.float32)
        action_space = spaces.Box(-1.0, 1.0, (6,), np.float32)

        def reset(self, **_: Any) -> Any:
            return np.zeros(17, np.float32), {}

    rng = np.random.default_rng(0)
    models = {}
    for name in ("MlpPolicy", "SpikingPolicy"):
        model = TD3(name, Sizes(), policy_kwargs={"net_arch": [256, 256]}, batch_size=256, buffer_size=2000, seed=0)
        model._setup_learn(1)
        assert model.replay_buffer is not None
        for _ in range(2000):
            obs, action = rng.standard_normal((2, 1, 17)), rng.uniform(-1, 1, (1, 6))
            model.replay_buffer.add(obs[0], obs[1], action, rng.standard_normal(1), np.zeros(1), [{}])
        models[name] = model
    obs = rng.standard_normal(17).astype(np.float32)
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for name, model in models.items():
            for what, count, call in (
                ("gradient step", 20, lambda model=model: model.train(gradient_steps=20, batch_size=256)),
                ("predict", 200, lambda model=model: [model.predict(obs) for _ in range(200)]),
            ):
                start = time.perf_counter()
                call()
                times.setdefault((what, name), []).append((time.perf_counter() - start) / count)
    print(f"{'TD3, batch 256':>16s}{'MlpPolicy':>14s}{'SpikingPolicy':>22s}")
    for what in ("gradient step", "predict"):
        mlp, spiking = (np.array(times[what, name]) * 1e3 for name in models)
        print(f"{what:>16s}{np.median(mlp):11.2f} ms{np.median(spiking):12.2f} ms {np.median(spiking / mlp):5.2f}x")


if __name__ == "__main__":
    layers()
    policies_of_td3()
