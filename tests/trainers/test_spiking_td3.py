"""SpikingTD3: TD3 with a continuous proxy in the place of the spiking target actor."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import TD3
from torch import nn

from trainers.spiking_td3 import SpikingTD3

SMALL: dict[str, Any] = {"learning_starts": 20, "batch_size": 16, "buffer_size": 1000, "seed": 0, "device": "cpu"}
NETS = {"net_arch": [16, 16]}


def _model(**kwargs: Any) -> SpikingTD3:
    kwargs = {"proxy_arch": (32, 32), "policy_kwargs": NETS} | SMALL | kwargs
    return SpikingTD3("SpikingPolicy", "Pendulum-v1", **kwargs)


def _weights(model: Any) -> dict[str, torch.Tensor]:
    params = model.get_parameters()
    return {f"{part}.{name}": x for part in params if "optimizer" not in part for name, x in params[part].items()}


def _observations(count: int = 64) -> np.ndarray:
    angle, velocity = np.random.default_rng(0).uniform(-1, 1, (2, count)) * [[np.pi], [8]]
    return np.stack([np.cos(angle), np.sin(angle), velocity], -1).astype(np.float32)


def test_without_proxy_it_is_td3_bit_for_bit() -> None:
    ours = _model(proxy=False).learn(60)
    stock = TD3("SpikingPolicy", "Pendulum-v1", policy_kwargs=NETS, **SMALL).learn(60)
    a, b = _weights(ours), _weights(stock)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_saved_and_loaded_it_predicts_and_learns_the_same(tmp_path: Path) -> None:
    model = _model(proxy_learning_rate=2e-3, proxy_updates=2).learn(60)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    loaded = SpikingTD3.load(tmp_path / "model", env=model.get_env(), device="cpu")
    loaded.load_replay_buffer(tmp_path / "buffer")
    assert (loaded.proxy_arch, loaded.proxy_learning_rate, loaded.proxy_updates) == ([32, 32], 2e-3, 2)
    assert loaded.proxy_target.optimizer.param_groups[0]["lr"] == 2e-3
    x = _observations()
    assert np.array_equal(model.predict(x, deterministic=True)[0], loaded.predict(x, deterministic=True)[0])
    assert torch.equal(model.actor_target(torch.tensor(x)), loaded.actor_target(torch.tensor(x)))
    loaded.set_logger(model.logger)
    for each in (model, loaded):  # the proxy's Adam goes on where it was
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002  (the replay buffer draws from it)
        each.train(3, 16)
    a, b = _weights(model), _weights(loaded)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_proxy_approaches_the_actor() -> None:
    model = _model()
    x = torch.tensor(_observations())

    def distance() -> float:
        with torch.no_grad():
            return float((model.actor(x) - model.proxy_target(x)).square().mean())

    before = distance()
    actor = {name: p.clone() for name, p in model.actor.named_parameters()}
    losses = [model.proxy_target.fit(x) for _ in range(300)]
    assert losses[-1] < 0.1 * losses[0]
    assert distance() < 0.1 * before
    assert all(torch.equal(p, actor[name]) and p.grad is None for name, p in model.actor.named_parameters())


def test_critics_learn_from_the_proxys_actions() -> None:
    model = _model(target_policy_noise=0.0).learn(40)
    seen: list[torch.Tensor] = []

    class Recorder(nn.Module):
        def forward(self, observations: Any, actions: torch.Tensor) -> Any:
            seen.append(actions)
            return model.policy.critic_target(observations, actions)

        def parameters(self, recurse: bool = True) -> Any:
            return model.policy.critic_target.parameters(recurse)

    model.critic_target = Recorder()  # type: ignore[assignment]
    with torch.no_grad():  # an action that no actor here would choose
        model.proxy_target.net[-2].weight.zero_()
        model.proxy_target.net[-2].bias.fill_(float(np.arctanh(0.777)))
    model.proxy_target.fit = lambda observations: 0.0  # type: ignore[method-assign]
    model.train(1, 16)
    assert torch.allclose(seen[0], torch.full((16, 1), 0.777))


def test_the_spiking_target_still_averages_the_actor() -> None:
    model = _model(tau=1.0).learn(40)
    model.train(2, 16)
    target = model.policy.actor_target.state_dict()
    assert all(torch.equal(x, target[name]) for name, x in model.policy.actor.state_dict().items())


def test_the_proxy_takes_steps_at_every_update() -> None:
    model = _model(proxy_updates=2).learn(40)
    counts = {int(state["step"]) for state in model.proxy_target.optimizer.state.values()}
    assert counts == {2 * model._n_updates}


@pytest.mark.parametrize(("name", "value"), [("proxy_updates", 0), ("proxy_updates", 1.5), ("proxy_learning_rate", 0.0)])
def test_bad_arguments_are_told_in_a_sentence(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={value} must be"):
        _model(**{name: value})
