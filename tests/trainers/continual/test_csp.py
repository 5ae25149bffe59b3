"""The subspace of policies: mixing, growing, choosing, and the environments that show alpha."""

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.vec_env import DummyVecEnv
from torch.distributions import Dirichlet

from trainers.continual.methods.csp import Simplex, SubspaceOfPolicies

STATES = np.random.default_rng(0).uniform(-2, 2, (20, 5)).astype(np.float32)
SMALL: dict[str, Any] = {"candidates": 8, "states": 16, "rollouts": 4, "validation_steps": 3}


def _net(anchors: int, seed: int = 0) -> Simplex:
    """Anchors that have nothing in common."""
    torch.manual_seed(seed)
    sizes = [(8, 5), (6, 8), (4, 6)]
    net = Simplex([(torch.randn(o, i), torch.randn(o)) for o, i in sizes], 5)
    for _ in range(anchors - 1):
        net.grow()
        with torch.no_grad():
            for parameter in net.last:
                parameter.normal_()
    return net


def _by_hand(net: Simplex, alpha: np.ndarray) -> np.ndarray:
    """One policy whose parameters are the weighted means, row by row."""
    stacks = [np.concatenate([o.numpy(), last.detach().numpy()[None]]) for o, last in zip(net.old, net.last, strict=True)]
    outputs = []
    for x, a in zip(STATES, alpha, strict=True):
        for i in range(0, len(stacks), 2):
            x = np.tensordot(a, stacks[i], 1) @ x + np.tensordot(a, stacks[i + 1], 1)
            x = x if i + 2 == len(stacks) else np.where(x > 0, x, 0.2 * x)
        outputs.append(x)
    return np.array(outputs)


@settings(max_examples=15, deadline=None)
@given(anchors=st.integers(1, 4), padding=st.integers(0, 2), seed=st.integers(0, 9))
def test_layers_are_mixed_by_alpha(anchors: int, padding: int, seed: int) -> None:
    net = _net(anchors, seed)
    alpha = np.random.default_rng(seed).dirichlet(np.ones(anchors), len(STATES)).astype(np.float32)
    seen = np.concatenate([STATES, alpha, np.zeros((len(STATES), padding), np.float32)], 1)
    expected = _by_hand(net, alpha)
    with torch.no_grad():
        np.testing.assert_allclose(net(torch.as_tensor(seen)), expected, atol=2e-4)
    mixed = net.mixed(torch.as_tensor(np.append(alpha[0], np.zeros(padding, np.float32))))
    x = STATES[0]
    for i, (weight, bias) in enumerate(mixed):
        x = weight.numpy() @ x + bias.numpy()
        x = x if i == 2 else np.where(x > 0, x, 0.2 * x)
    np.testing.assert_allclose(x, expected[0], atol=2e-4)


def test_corners_are_the_anchors() -> None:
    net = _net(3)
    for corner, anchor in ((0, net.old), (1, net.old), (2, net.last)):
        for i, (weight, bias) in enumerate(net.mixed(torch.eye(5)[corner])):
            for mixed, own in ((weight, anchor[2 * i]), (bias, anchor[2 * i + 1])):
                torch.testing.assert_close(mixed, (own if corner == 2 else own[corner]).detach(), rtol=0, atol=0)


def test_a_new_anchor_is_the_mean_and_learns_alone() -> None:
    net = _net(2)
    stacks = [torch.cat([old, last[None]]).detach() for old, last in zip(net.old, net.last, strict=True)]
    net.grow()
    assert net.anchors == 3
    for stack, old, last in zip(stacks, net.old, net.last, strict=True):
        torch.testing.assert_close(last.detach(), stack.mean(0))
        assert torch.equal(old, stack)
        assert last.requires_grad
        assert not old.requires_grad
    net.shrink()
    assert net.anchors == 2
    for stack, old, last in zip(stacks, net.old, net.last, strict=True):
        assert torch.equal(torch.cat([old, last[None]]), stack)


@pytest.mark.parametrize("dist", ["flat", "peaked"])
def test_alphas_are_in_the_simplex(dist: str, actors) -> None:
    torch.manual_seed(0)
    method = SubspaceOfPolicies(actors(), 6, dist=dist, **SMALL)
    method.net.grow()
    method.net.grow()
    for old, n in ((False, 3), (True, 2)):
        alphas = method.draw(4000, old)
        assert (alphas >= 0).all()
        assert (alphas[:, n:] == 0).all()
        torch.testing.assert_close(alphas.sum(1), torch.ones(4000))
        weights = np.array([1.0, 1, 9] if dist == "peaked" and not old else np.ones(n))
        np.testing.assert_allclose(alphas[:, :n].mean(0), weights / weights.sum(), atol=0.02)
    seen = torch.as_tensor(np.concatenate([STATES, np.full((20, 6), 7.0, np.float32)], 1))
    drawn = method.redraw(seen)
    assert torch.equal(drawn[:, :5], seen[:, :5])
    torch.testing.assert_close(drawn[:, 5:].sum(1), torch.ones(20))


@pytest.mark.parametrize(
    ("new", "old", "stays"),
    [(1.2, 1.0, True), (1.1, 1.0, False), (-1.0, -1.0, False), (-0.95, -1.0, False), (-0.8, -1.0, True), (0.1, 0.0, True)],
)
def test_an_anchor_stays_if_it_is_better_by_the_threshold(new: float, old: float, stays: bool, actors, learn, judge) -> None:
    torch.manual_seed(0)
    method = SubspaceOfPolicies(actors(), 3, threshold=0.1, **SMALL)
    learn(method, 0)
    assert method.alphas.tolist() == [[1.0, 0, 0], [0, 0, 0], [0, 0, 0]]
    learn(method, 1, judge(rewards=[new - 5, new, old, old - 5]))
    assert method.net.anchors == (2 if stays else 1)
    assert float(method.alphas[1].sum()) == pytest.approx(1.0)
    assert (method.alphas[1, 1] > 0) == stays
    kept = method.actor_for(1)
    expected = method.net.mixed(method.alphas[1])
    assert torch.equal(kept.latent_pi[0].weight, expected[0][0])
    even = method.net.mixed(torch.full((method.net.anchors,), 1 / method.net.anchors))
    torch.testing.assert_close(method.actor_for(2).latent_pi[2].bias, even[1][1])


def test_the_critic_chooses_whom_to_try(actors) -> None:
    """A critic that likes large first entries of alpha."""
    torch.manual_seed(0)
    method = SubspaceOfPolicies(actors(), 4, **SMALL | {"candidates": 200})
    method.net.grow()
    method.net.grow()
    sample = SimpleNamespace(observations=torch.rand(16, 5 + 4))
    learner: Any = SimpleNamespace(
        replay_buffer=SimpleNamespace(sample=lambda n: sample), critic=lambda seen, actions: (seen[:, 5:6], -seen[:, 5:6])
    )
    for old in (False, True):
        torch.manual_seed(3)
        best = method._best_by_critic(learner, 2, old)
        torch.manual_seed(3)
        candidates = Dirichlet(torch.ones(2 if old else 3)).sample((200,))
        assert best.shape == (2, 4)
        np.testing.assert_allclose(best[:, 0], np.sort(candidates[:, 0])[-2:][::-1], atol=1e-6)
        assert (best[:, 2 if old else 3 :] == 0).all()


def test_environments_show_alpha_and_draw_it_anew(actors, learner) -> None:
    """Every four steps, and after episodes, which have nine."""
    torch.manual_seed(0)
    method = SubspaceOfPolicies(actors(), 4, repeat_alpha=4, **SMALL)
    method.net.grow()
    env = learner(method).env
    assert env.observation_space.shape == (9,)
    assert env.observation_space.high.tolist() == [2.0] * 5 + [1.0] * 4
    seen = [env.reset()]
    for step in range(1, 19):
        obs, rewards, dones, infos = env.step(np.zeros((2, 2), np.float32))
        assert obs.shape == (2, 9)
        assert obs.dtype == np.float32
        assert rewards.shape == (2,)
        assert dones.all() == dones.any() == (step % 9 == 0)
        for i in range(2):
            if dones[i]:
                last = infos[i]["terminal_observation"]
                np.testing.assert_array_equal(last[5:], seen[-1][i, 5:])  # that with which the episode ended
                assert env.observation_space.contains(last)
        seen.append(obs)
    alphas = np.stack(seen)[:, :, 5:]
    np.testing.assert_allclose(alphas.sum(2), 1.0, atol=1e-6)
    assert (alphas[:, 0, :2] > 0).all()
    np.testing.assert_allclose(alphas[:, 1], np.tile([1, 0, 0, 0], (19, 1)), atol=1e-6)  # the old face, a point
    changes = np.flatnonzero((alphas[1:, 0] != alphas[:-1, 0]).any(1)) + 1
    assert changes.tolist() == [4, 8, 9, 13, 17, 18]


@pytest.mark.parametrize(("count", "old"), [(1, [0, 1, 0, 1]), (2, [1] * 4), (3, [1] * 4), (8, [4] * 4)])
def test_half_of_the_environments_stay_on_the_old_face(count: int, old: list[int], actors) -> None:
    """A single one every other time, so that the new anchor acts too."""
    method = SubspaceOfPolicies(actors(inputs=3, outputs=1), 3, repeat_alpha=1, **SMALL)
    env = method.wrap(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")] * count))
    env.reset()
    alone = env.step(np.zeros((count, 1), np.float32))[0][:, 3:]
    np.testing.assert_allclose(alone, np.tile([1, 0, 0], (count, 1)), atol=1e-6)  # there is only one anchor
    method.net.grow()
    env = method.wrap(env.venv)
    found = [int((env.reset()[:, 4] == 0).sum()) for _ in range(4)]
    assert found == old


def test_its_critics_are_told_alpha_and_are_new(actors, learner) -> None:
    method = SubspaceOfPolicies(actors(), 4, **SMALL)
    critic = learner(method).critic
    assert critic.weights[0].shape[1] == 5 + 4 + 2
    assert method.new_critics
