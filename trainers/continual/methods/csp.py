"""Continual subspace of policies."""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.sac.policies import Actor
from torch import Tensor, nn
from torch.distributions import Dirichlet
from torch.nn import functional

from trainers.continual.methods.base import (
    SLOPE,
    Judge,
    Method,
    Size,
    count_numbers,
    layers_of,
    plain_actor,
    with_net,
)

if TYPE_CHECKING:
    from trainers.continual.sac import ContinualSAC

DISTRIBUTIONS = ("flat", "peaked")


class SubspaceOfPolicies(Method):
    """A simplex of policies that grows only where it helps (Gaya et al. 2022, arXiv 2211.10445).

    A policy is theta(alpha) = sum_i alpha_i theta_i, alpha in the simplex of the anchors theta_i. A new task adds an anchor,
    the mean of the others, which alone learns; the critics are new and see alpha too. While it acts, half of the
    environments draw alpha from all anchors, the other half from the old ones (a single environment does both in turn).
    Then the best alphas by the critic are tried in the environment, of the whole simplex and of its old face: the new anchor
    stays if its best return is better than the old best by more than `threshold` of that one's size, and the task keeps the
    alpha.

    :param dist: of alpha over all anchors: "flat", Dirichlet(1, ..., 1), or "peaked", Dirichlet(1, ..., 1, n^2)
    :param repeat_alpha: steps for which an environment keeps an alpha
    :param threshold: how much better the new anchor must be
    :param candidates: alphas that the critic judges in each half
    :param states: of the replay buffer, by which it judges
    :param rollouts: environments in which the best are tried, half of them for each half
    :param validation_steps: steps in each of these
    """

    new_critics: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    alphas: Tensor
    """Of each task, (n_tasks, n_tasks)."""

    def __init__(
        self,
        *args: Any,
        dist: str = "flat",
        repeat_alpha: int = 100,
        threshold: float = 0.1,
        candidates: int = 4096,
        states: int = 1024,
        rollouts: int = 8,
        validation_steps: int = 1000,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if dist not in DISTRIBUTIONS:
            raise ValueError(f"dist='{dist}' must be flat or peaked.")
        if rollouts < 2 or rollouts % 2:
            raise ValueError(f"rollouts={rollouts} must be even, and at least 2.")
        for name, value in (
            ("repeat_alpha", repeat_alpha),
            ("states", states),
            ("validation_steps", validation_steps),
        ):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1.")
        if candidates < rollouts // 2:
            raise ValueError(f"candidates={candidates} must be at least half of rollouts={rollouts}.")
        self.dist, self.repeat_alpha, self.threshold = dist, repeat_alpha, threshold
        self.candidates, self.states = candidates, states
        self.rollouts, self.validation_steps = rollouts, validation_steps
        self.inputs = layers_of(self.actor, "csp")[0][0].shape[1]
        with_net(self.actor, Simplex(layers_of(self.actor, "csp"), self.inputs))
        self.register_buffer("alphas", torch.zeros(self.n_tasks, self.n_tasks))

    @property
    def net(self) -> "Simplex":
        """All anchors so far."""
        net: Any = self.actor.latent_pi
        return net

    def wrap(self, env: VecEnv) -> VecEnv:
        return AlphaVecEnv(env, self)

    def before_task(self, task: int, judge: Judge) -> None:
        super().before_task(task, judge)
        if task > 0:
            self.net.grow()

    def draw(self, count: int, old: bool = False) -> Tensor:
        """Alphas (count, n_tasks): of all anchors, or evenly over all but the last."""
        n = self.net.anchors - (1 if old else 0)
        weights = torch.ones(n)
        if self.dist == "peaked" and not old:
            weights[-1] = n**2
        alphas = torch.zeros(count, self.n_tasks)
        alphas[:, :n] = Dirichlet(weights).sample((count,))
        return alphas

    def redraw(self, observations: Tensor) -> Tensor:
        alphas = self.draw(len(observations)).to(observations.device)
        return torch.cat([observations[:, : self.inputs], alphas.to(observations.dtype)], 1)

    def after_task(self, learner: "ContinualSAC", judge: Judge) -> str | None:
        if self.task == 0:
            self.alphas[0, 0] = 1.0
            return None
        half = self.rollouts // 2
        tried = torch.cat([self._best_by_critic(learner, half, old) for old in (False, True)])
        earned = judge.rewards(Blend(self.actor, tried), self.rollouts, self.validation_steps)
        best, best_old = int(np.argmax(earned[:half])), half + int(np.argmax(earned[half:]))
        better = earned[best] > earned[best_old] + self.threshold * abs(earned[best_old])
        if not better:
            self.net.shrink()
        self.alphas[self.task] = tried[best if better else best_old]
        return None if better else "the old policies earn as much, and the new one is dropped."

    @torch.no_grad()
    def _best_by_critic(self, learner: "ContinualSAC", count: int, old: bool) -> Tensor:
        assert learner.replay_buffer is not None
        flat = Dirichlet(torch.ones(self.net.anchors - (1 if old else 0))).sample((self.candidates,))
        alphas = functional.pad(flat, (0, self.n_tasks - flat.shape[1]))
        observations = learner.replay_buffer.sample(self.states).observations[:, : self.inputs]
        scores = torch.empty(len(alphas))
        for i, alpha in enumerate(alphas):
            seen = torch.cat([observations, alpha.to(observations).expand(self.states, -1)], 1)
            scores[i] = learner.critic(seen, self.actor(seen, deterministic=True))[0].mean()
        return alphas[scores.topk(count).indices]

    def actor_for(self, task: int) -> Actor:
        """With the task's alpha; with equal shares of all anchors for a task to come."""
        n = self.net.anchors
        even = functional.pad(torch.full((n,), 1 / n), (0, self.n_tasks - n))
        learned = task <= self.task and bool(self.alphas[task].any())
        return plain_actor(self.make_actor(), self.net.mixed(self.alphas[task] if learned else even.to(self.alphas.device)))

    def size(self) -> Size:
        count = count_numbers(self.net) + self.net.anchors * (self.task + 1)
        return Size(count, count)

    def memo(self) -> dict[str, Any]:
        return super().memo() | {"anchors": self.net.anchors}

    def restore(self, memo: dict[str, Any]) -> None:
        super().restore(memo)
        while self.net.anchors < memo["anchors"]:
            self.net.grow()


class Simplex(nn.Module):
    """Networks whose layers are mixed by alpha, which comes behind the observation; only the last one learns.

    :param layers: weights and biases of the first anchor
    :param inputs: size of the observation
    """

    def __init__(self, layers: list[tuple[Tensor, Tensor]], inputs: int) -> None:
        super().__init__()
        self.inputs = inputs
        arrays = [array for layer in layers for array in layer]  # of each layer weights, then biases
        self.last = nn.ParameterList(arrays)
        self.old = nn.ParameterList(nn.Parameter(array[None][:0], requires_grad=False) for array in arrays)

    @property
    def anchors(self) -> int:
        """How many there are."""
        return len(self.old[0]) + 1

    def forward(self, x: Tensor) -> Tensor:
        h, alpha = x[:, : self.inputs], x[:, self.inputs : self.inputs + self.anchors, None]
        stacks = self._stacks()
        for i in range(0, len(stacks), 2):
            weight, bias = stacks[i], stacks[i + 1]
            each = functional.linear(h, weight.flatten(0, 1), bias.flatten()).unflatten(1, bias.shape)
            h = (alpha * each).sum(1)
            h = functional.leaky_relu(h, SLOPE) if i + 2 < len(stacks) else h
        return h

    @torch.no_grad()
    def grow(self) -> None:
        """Another anchor, the mean of those there are."""
        for i, stack in enumerate(self._stacks()):
            self.old[i] = nn.Parameter(stack, requires_grad=False)
            self.last[i] = nn.Parameter(stack.mean(0))

    @torch.no_grad()
    def shrink(self) -> None:
        """Without the last anchor."""
        for i, old in enumerate(self.old):
            self.last[i] = nn.Parameter(old[-1].clone())
            self.old[i] = nn.Parameter(old[:-1].clone(), requires_grad=False)

    @torch.no_grad()
    def mixed(self, alpha: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Layers of the policy at one alpha (n_tasks,)."""
        arrays = [torch.tensordot(alpha[: self.anchors], stack, 1) for stack in self._stacks()]
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    def _stacks(self) -> list[Tensor]:
        return [torch.cat([old, last[None]]) for old, last in zip(self.old, self.last, strict=True)]


class Blend(nn.Module):
    """The actor with an alpha for each row of observations."""

    def __init__(self, actor: Actor, alphas: Tensor) -> None:
        super().__init__()
        self.actor, self.alphas = actor, alphas

    def forward(self, observations: Tensor, deterministic: bool = True) -> Tensor:
        seen = torch.cat([observations, self.alphas.to(observations)], 1)
        actions: Tensor = self.actor(seen, deterministic=deterministic)
        return actions


class AlphaVecEnv(VecEnvWrapper):
    """Appends alpha to observations, drawn anew at the start of an episode and every `repeat_alpha` steps."""

    def __init__(self, env: VecEnv, method: SubspaceOfPolicies) -> None:
        self.method = method
        inner = env.observation_space
        assert isinstance(inner, spaces.Box)
        low, high = (
            np.append(bound, np.full(method.n_tasks, i, bound.dtype)) for i, bound in enumerate((inner.low, inner.high))
        )
        super().__init__(env, spaces.Box(low, high, dtype=inner.dtype.type))
        self._alphas = np.zeros((env.num_envs, method.n_tasks), inner.dtype)
        self._ages = np.zeros(env.num_envs, int)
        self._old = np.arange(env.num_envs) >= (env.num_envs + 1) // 2

    def reset(self) -> np.ndarray:
        obs = self.venv.reset()
        assert isinstance(obs, np.ndarray)
        self._draw(np.ones(self.num_envs, bool))
        return np.concatenate([obs, self._alphas], 1)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        obs, rewards, dones, infos = self.venv.step_wait()
        for i in np.flatnonzero(dones):
            infos[i]["terminal_observation"] = np.append(infos[i]["terminal_observation"], self._alphas[i])
        self._ages += 1
        self._draw(dones | (self._ages >= self.method.repeat_alpha))
        return np.concatenate([obs, self._alphas], 1), rewards, dones, infos

    def _draw(self, which: np.ndarray) -> None:
        """The second half of the environments stays on the old face once there is one, a single one every other time."""
        if which.any():
            alphas = self.method.draw(self.num_envs)
            if self.method.net.anchors > 1 and self._old.any():
                alphas[self._old] = self.method.draw(int(self._old.sum()), old=True)
            if self.num_envs == 1:
                self._old = ~self._old
            self._alphas[which] = alphas.numpy()[which]
            self._ages[which] = 0
