"""Continual methods: the life of each over three tasks, their sizes, and the penalties of those that have one actor."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainers.continual.methods import METHODS
from trainers.continual.methods.base import Method, frozen_copy, named, squared_distance
from trainers.continual.methods.ewc import EWC, fisher

OPTIONS: dict[str, dict[str, Any]] = {
    "ewc": {"samples": 8},
    "pnn": {"hidden": 8},
    "packnet": {"retrain_updates": 5, "max_grad_norm": None},
    "csp": {"candidates": 8, "states": 16, "rollouts": 4, "validation_steps": 3, "repeat_alpha": 4},
    "replay": {"samples": 32, "batch_size": 16},
    "rewire": {"select_episodes": 2, "coefficient": 0.1},
}
KEEPING = ("ft_n", "sac_n", "packnet", "pnn", "csp")
SPIKING = ("ft_1", "sac_n", "ft_n", "ft_l2", "ewc", "packnet", "replay")
STATES = torch.as_tensor(np.random.default_rng(0).uniform(-2, 2, (40, 5)).astype(np.float32))


@torch.no_grad()
def _acts(method: Method, task: int) -> Tensor:
    actor = method.actor_for(task).eval()
    return actor(STATES, deterministic=True)


@pytest.mark.parametrize(("name", "policy"), [(n, "MlpPolicy") for n in METHODS] + [(n, "SpikingPolicy") for n in SPIKING])
def test_three_tasks(name: str, policy: str, actors, learn, judge) -> None:
    """Actions of tasks that were learned, and of one to come; what is kept is kept, what is not is forgotten, and a method
    that is restored between any two tasks is the same."""
    torch.manual_seed(0)
    make = actors(policy)
    method = METHODS[name](make, 4, **OPTIONS.get(name, {}))
    learned: list[Tensor] = []
    for task in range(3):
        learn(method, task, judge(rewards=[1.0, 1.0, 0.0, 0.0]), policy=policy)  # so that csp grows
        learned.append(_acts(method, task))
        assert task == 0 or not torch.equal(learned[-1], learned[-2])
        fresh = METHODS[name](make, 4, **OPTIONS.get(name, {}))
        fresh.restore(json.loads(json.dumps(method.memo())))
        fresh.load_state_dict(method.state_dict())
        assert fresh.size() == method.size()
        assert [p.shape for p in fresh.trained()] == [p.shape for p in method.trained()]
        for i in range(4):
            acts = _acts(method, i)
            assert acts.shape == (40, 2)
            assert acts.abs().max() <= 1.0
            torch.testing.assert_close(_acts(fresh, i), acts, rtol=0, atol=0)
    for i in range(2):
        assert torch.equal(_acts(method, i), learned[i]) == (name in KEEPING), i


@pytest.mark.parametrize("name", ["ft_1", "packnet"])
def test_a_kept_actor_is_free_of_what_learning_left_behind(name: str, actors, learn, learner) -> None:
    method = METHODS[name](actors(), 3, **OPTIONS.get(name, {}))
    learn(method, 0)
    learner(method).learn(30)
    kept = frozen_copy(method.actor)
    assert method.actor.optimizer is not None
    assert kept.optimizer is None
    assert not any(p.requires_grad for p in kept.parameters())
    with torch.no_grad():
        assert torch.equal(kept(STATES, True), method.actor(STATES, True))


def _fake_learner() -> Any:
    """A replay buffer and critics, for methods that only look at these."""
    sample = SimpleNamespace(observations=torch.zeros(4, 18 + 8))
    return SimpleNamespace(
        replay_buffer=SimpleNamespace(sample=lambda n: sample),
        critic=lambda seen, actions: (seen[:, :1],),
    )


@pytest.mark.parametrize(
    ("name", "options", "train", "inference"),
    [
        ("ft_1", {}, 1, 1),
        ("ft_l2", {}, 2, 1),
        ("ewc", {}, 3, 1),
        ("ft_n", {}, 8, 8),
        ("sac_n", {}, 8, 8),
        ("pnn", {}, 7.78, 7.78),
        ("rewire", {"cycle": 4, "select_episodes": 1}, 2.11, 1.09),
    ],
)
def test_sizes_are_the_published_ones(name: str, options: dict, train: float, inference: float, actors, judge) -> None:
    """Of eight tasks of the half-cheetah of Brax, in policies of 139,532 parameters."""
    method = METHODS[name](actors(inputs=18, outputs=6, net_arch=[256, 256, 256]), 8, **options)
    for task in range(8):
        method.before_task(task, judge())
        if name == "rewire":
            method.after_task(_fake_learner(), judge())
    assert np.array(method.size()) / 139_532 == pytest.approx((train, inference), abs=0.006)


def test_sizes_that_depend_on_what_happened(actors, judge, learn) -> None:
    actor = 5 * 16 + 16 + 16 * 16 + 16 + 2 * (16 * 2 + 2)
    packnet = METHODS["packnet"](actors(), 8, retrain_updates=0)
    csp = METHODS["csp"](actors(), 8, **OPTIONS["csp"])
    replay = METHODS["replay"](actors(), 8, **OPTIONS["replay"])
    for task, better in enumerate((True, True, False)):
        packnet.before_task(task, judge())
        packnet.after_task(_fake_learner(), judge())
        learn(csp, task, judge(rewards=[1.0, 1, 0, 0] if better else [0.0, 0, 1, 1]))
        learn(replay, task, steps=30)
    assert packnet.size().train == actor + 2 * 68 + (5 * 16 + 16 * 16)  # two further heads, and who owns each weight
    assert csp.size().inference == 2 * actor + 3 * 2
    assert replay.size() == (actor + 3 * 32 * (5 + 2 + 2), actor)


def _move(method: Method, by: float = 0.1) -> None:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in method.actor.parameters():
            parameter.add_(by * torch.randn_like(parameter))


@pytest.mark.parametrize("name", ["ft_l2", "ewc", "replay"])
def test_a_penalty_is_least_where_the_last_task_ended(name: str, actors, learn, judge) -> None:
    torch.manual_seed(0)
    method = METHODS[name](actors(), 3, **OPTIONS.get(name, {}))
    method.before_task(0, judge())
    assert method.loss(STATES) is None
    learn(method, 0)
    method.before_task(1, judge())
    loss = method.loss(STATES)
    assert loss is not None
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert all(g.abs().max() < 1e-5 for g in torch.autograd.grad(loss, method.trained()))
    _move(method)
    moved = method.loss(STATES)
    assert moved is not None
    assert moved > 1e-3


def test_ft_l2_is_the_squared_distance(actors, learn, judge) -> None:
    method = METHODS["ft_l2"](actors(), 3, coefficient=3.0)
    learn(method, 0)
    method.before_task(1, judge())
    kept = torch.cat([p.detach().flatten() for p in method.actor.parameters()]).numpy().copy()
    _move(method)
    now = torch.cat([p.detach().flatten() for p in method.actor.parameters()]).numpy()
    assert method.loss(STATES).item() == pytest.approx(3.0 * np.square(now - kept).sum(), rel=1e-5)


def test_replay_is_the_divergence_of_gaussians(actors, learn, judge) -> None:
    torch.manual_seed(0)
    method: Any = METHODS["replay"](actors(), 3, coefficient=2.0, samples=4, batch_size=2000)
    learn(method, 0)
    method.before_task(1, judge())
    m0, s0 = method.means.numpy(), np.exp(method.log_stds.numpy())
    _move(method)
    with torch.no_grad():
        m1, l1, _ = method.actor.get_action_dist_params(method.states)
    m1, s1 = m1.numpy(), np.exp(l1.numpy())
    each = (np.log(s1 / s0) + (s0**2 + (m0 - m1) ** 2) / (2 * s1**2) - 0.5).sum(1)
    value = method.loss(STATES).item()
    assert value == pytest.approx(2 * each.mean(), rel=0.1)  # a batch drawn from these four
    assert 2 * each.min() <= value <= 2 * each.max()


def test_fisher_of_a_linear_gaussian(actors) -> None:
    """mu = W x + b and log sigma = V x + c: x^2 / sigma^2, 1 / sigma^2, 2 x^2 and 2, each at least 1e-5."""
    torch.manual_seed(0)
    actor = actors(net_arch=[])()
    states = STATES[:6].clone()
    states[:, 3] = 0.0
    found = {name: value.numpy() for name, value in fisher(actor, states).named_buffers()}
    x = states.numpy()
    v, c = (p.detach().numpy() for p in (actor.log_std.weight, actor.log_std.bias))
    variance = np.exp(2 * (x @ v.T + c))
    squares = x[:, None] ** 2
    share = (2 * variance / (variance + 1e-6))[..., None]
    expected = {
        "mu__weight": squares / (variance[..., None] + 1e-6),
        "mu__bias": 1 / (variance + 1e-6),
        "log_std__weight": share * squares,
        "log_std__bias": share[..., 0],
    }
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        np.testing.assert_allclose(found[name], np.maximum(each, 1e-5).mean(0), rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(found["mu__weight"][:, 3], 1e-5, rtol=1e-6)


def test_fisher_of_hidden_weights_by_finite_differences(actors) -> None:
    torch.manual_seed(0)
    actor = actors(net_arch=[8])()
    weight, state, step = actor.latent_pi[0].weight, STATES[:1], 1e-3
    found = fisher(actor, state).get_buffer("latent_pi__0__weight")

    @torch.no_grad()
    def outputs(shift: float, i: int, j: int) -> np.ndarray:
        weight[i, j] += shift
        mean, log_std, _ = actor.get_action_dist_params(state)
        weight[i, j] -= shift
        return np.stack([mean[0].numpy(), log_std[0].exp().numpy()]).astype(float)

    sigma = outputs(0.0, 0, 0)[1]
    for i, j in ((0, 0), (3, 1), (7, 4)):
        slopes = (outputs(step, i, j) - outputs(-step, i, j)) / (2 * step)
        expected = max(((slopes[0] ** 2 + 2 * slopes[1] ** 2) / (sigma**2 + 1e-6)).sum(), 1e-5)
        assert float(found[i, j]) == pytest.approx(expected, rel=0.02, abs=1e-6)


def test_ewc_sums_importance_over_tasks_and_holds_the_last(actors, learn, judge) -> None:
    torch.manual_seed(0)
    method: Any = EWC(actors(), 3, coefficient=2.0, samples=4)
    learn(method, 0)
    first = {name: value.clone() for name, value in method.importance.named_buffers()}
    learn(method, 1)
    method.before_task(2, judge())
    kept = {name: p.detach().clone() for name, p in named(method.actor)}
    _move(method)
    total = 0.0
    for name, parameter in named(method.actor):
        importance = method.importance.get_buffer(name)
        assert (importance >= first[name] + 0.99e-5).all()
        total += (importance * (parameter - kept[name]) ** 2).sum().item()
    assert method.loss(STATES).item() == pytest.approx(2 * total, rel=1e-4)
    assert squared_distance(method.actor, method.anchor) > 0


def test_without_weight_a_penalty_changes_nothing(actors, learn) -> None:
    ends = []
    for name, options in (("ft_1", {}), ("ewc", {"coefficient": 0.0, "samples": 4}), ("ft_l2", {"coefficient": 0.0})):
        torch.manual_seed(0)
        method = METHODS[name](actors(), 2, **options)
        for task in range(2):
            learn(method, task)
        ends.append(_acts(method, 1))
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ft_l2", {"coefficient": -1.0}, r"coefficient=-1\.0 must be at least 0"),
        ("ewc", {"coefficient": -1.0}, r"coefficient=-1\.0 must be at least 0"),
        ("ewc", {"samples": 0}, "samples=0 must be at least 1"),
        ("replay", {"coefficient": -0.1}, r"coefficient=-0\.1 must be at least 0"),
        ("replay", {"samples": 0}, "samples=0 must be at least 1"),
        ("replay", {"batch_size": 0}, "batch_size=0 must be at least 1"),
        ("pnn", {"hidden": 0}, "hidden=0 must be at least 1"),
        ("packnet", {"retrain_updates": -1}, "retrain_updates=-1 must be at least 0"),
        ("packnet", {"max_grad_norm": 0.0}, r"max_grad_norm=0\.0 must be positive, or None"),
        ("csp", {"dist": "round"}, "dist='round' must be flat or peaked"),
        ("csp", {"rollouts": 3}, "rollouts=3 must be even"),
        ("csp", {"repeat_alpha": 0}, "repeat_alpha=0 must be at least 1"),
        ("csp", {"states": 0}, "states=0 must be at least 1"),
        ("csp", {"validation_steps": 0}, "validation_steps=0 must be at least 1"),
        ("csp", {"candidates": 3}, "candidates=3 must be at least half of rollouts=8"),
        ("rewire", {"modes": 0}, "modes=0 must be at least 1"),
        ("rewire", {"select_episodes": 0}, "select_episodes=0 must be at least 1"),
        ("rewire", {"tau": 0.0}, r"tau=0\.0 must be positive"),
        ("rewire", {"beta": -1.0}, r"beta=-1\.0 must be at least 0"),
        ("rewire", {"divergence": -1.0}, r"divergence=-1\.0 must be at least 0"),
        ("rewire", {"coefficient": -1.0}, r"coefficient=-1\.0 must be at least 0"),
        ("rewire", {"cycle": 0}, "cycle=0 must be at least 1, or -1 for none"),
    ],
)
def test_bad_options(name: str, options: dict, message: str, actors) -> None:
    with pytest.raises(ValueError, match=message):
        METHODS[name](actors(), 2, **options)


@pytest.mark.parametrize("name", ["pnn", "csp", "rewire"])
def test_methods_that_need_the_layers_of_an_mlp(name: str, actors) -> None:
    with pytest.raises(ValueError, match=f"'{name}' works on the layers of MlpPolicy; give --policy MlpPolicy"):
        METHODS[name](actors("SpikingPolicy"), 2)
    with pytest.raises(ValueError, match=f"'{name}' makes layers with LeakyReLU.*activation_fn=Activation"):
        METHODS[name](actors(activation_fn=torch.nn.ReLU), 2)
