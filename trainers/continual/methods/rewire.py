"""Rewiring of neurons: a permutation of the hidden neurons for every task."""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from stable_baselines3.sac.policies import Actor
from torch import Tensor, nn
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

DROPOUT = 0.1
LARGEST_MEAN = 20.0
ALIGNMENT_TAU = 0.1


class Rewire(Method):
    """One network whose hidden neurons are wired anew for every task (Sun & Mu, NeurIPS 2023).

    Hidden layer l computes h_l = act(P_l (W_l h_{l-1} + b_l)) with a permutation P_l, learned as scores of the neurons by
    SoftSort (`soft_sort`), each in `modes` versions, one of which is drawn for every batch and step: that explores. W and b
    are shared by all tasks and learn slowly; a task keeps its wiring and its head.

    Added to the actor's loss, with k the mode that was drawn and k' another one, without gradient and noise,

        divergence * sum_(batch, outputs) (output_k - output_k')^2,   twice, since the original's windows have two states,

    and from the second task on coefficient * sum_l ||W_l - Z_l^T Wbar_l A_l||^2 (and the same of b), with the last task's
    Wbar and permutations Z, A, which learn as well: weights may move as far as a relabelling of neurons explains it.
    ||Z^T Wbar A||^2, the same for all permutations, has no gradient.
    After the task kept wirings are relabelled accordingly (`follow`), so that what was explained costs earlier tasks nothing.

    If the best mode earns less than the network did before the task, everything goes back to where it was. Unlike in the
    released code the rule is r0 + threshold |r0|, so that it also holds for negative returns, and dropout is in updates alone.

    :param modes: K, versions of each permutation
    :param tau: temperature of SoftSort
    :param beta: scale of the Gumbel noise on scores in updates; at 0 there is dropout in place of it
    :param divergence: weight of the first term
    :param coefficient: weight of the second
    :param cycle: when tasks repeat, after how many; their wirings and heads are then shared. -1: the learner is not told
    :param threshold: by which share of its size the return must grow for the task to be kept
    :param select_episodes: episodes in which each mode is tried
    """

    needs_layers: ClassVar[bool] = True

    def __init__(
        self,
        *args: Any,
        modes: int = 3,
        tau: float = 0.1,
        beta: float = 0.0,
        divergence: float = 1e-5,
        coefficient: float = 1.0,
        cycle: int = -1,
        threshold: float = 0.0,
        select_episodes: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        for name, count in (("modes", modes), ("select_episodes", select_episodes)):
            if count < 1:
                raise ValueError(f"{name}={count} must be at least 1.")
        if not tau > 0:
            raise ValueError(f"tau={tau} must be positive.")
        for name, value in (("beta", beta), ("divergence", divergence), ("coefficient", coefficient)):
            if value < 0:
                raise ValueError(f"{name}={value} must be at least 0.")
        if cycle < 1 and cycle != -1:
            raise ValueError(f"cycle={cycle} must be at least 1, or -1 for none.")
        self.divergence, self.coefficient = divergence, coefficient
        self.threshold, self.select_episodes = threshold, select_episodes
        self.slots = min(cycle, self.n_tasks) if cycle > 0 else self.n_tasks
        layers = layers_of(self.actor, "rewire")
        with_net(self.actor, RewiredNet(layers, modes, tau, beta))
        widths = [len(bias) for _, bias in layers[:-1]]
        self.wirings = nn.ParameterList(
            nn.Parameter(torch.arange(n).repeat(self.slots, 1), requires_grad=False) for n in widths
        )
        self.heads = nn.ModuleList(_linear(*layers[-1]).requires_grad_(False) for _ in range(self.slots))
        self.before = 0.0

    @property
    def net(self) -> "RewiredNet":
        """The network of all tasks."""
        net: Any = self.actor.latent_pi
        return net

    def before_task(self, task: int, judge: Judge) -> None:
        super().before_task(task, judge)
        slot = task % self.slots
        last = (task - 1) % self.slots
        wiring = self._wiring(slot if task >= self.slots else last)
        if task >= self.slots:
            self.net.head.load_state_dict(self.heads[slot].state_dict())
        self.net.start_task(wiring)
        self._keep(slot, wiring)
        if task > 0:
            self.before = float(judge.returns(self._actor(self._wiring_now(0), self.net.head), self.select_episodes).mean())

    def loss(self, observations: Tensor) -> Tensor | None:
        total = self.divergence * 2 * self.net.disagreement(observations)
        if self.task > 0 and self.coefficient > 0:
            total = total + self.coefficient * self.net.misalignment()
        return total

    def after_task(self, learner: "ContinualSAC", judge: Judge) -> str | None:
        slot = self.task % self.slots
        kept, told = self._wiring_now(0), None
        if self.task > 0:
            tried = [self._actor(self._wiring_now(k), self.net.head) for k in range(self.net.modes)]
            earned = [float(judge.returns(actor, self.select_episodes).mean()) for actor in tried]
            kept = self._wiring_now(int(np.argmax(earned)))
            if max(earned) < self.before + self.threshold * abs(self.before):
                self.net.roll_back()
                self.net.head.load_state_dict(self.heads[slot].state_dict())
                kept = self._wiring(slot)
                told = f"no wiring earns as much as before ({max(earned):.4g} < {self.before:.4g}), and it is undone."
            for wiring in range(min(self.task, self.slots)):
                for own, new in zip(self.wirings, self.net.follow(self._wiring(wiring)), strict=True):
                    own.data[wiring] = new
        self.net.consolidate()
        self.net.set_wiring(kept)
        self._keep(slot, kept)
        return told

    def actor_for(self, task: int) -> Actor:
        """A plain network, wired for the task; for one to come, as the last, or as that which it repeats."""
        slot = max(min(task % self.slots, self.task), 0)
        return self._actor(self._wiring(slot), self.heads[slot])

    def size(self) -> Size:
        """Learning also takes the scores of all modes, a head, the last task's weights and their alignment."""
        slots = min(self.task + 1, self.slots)
        head = count_numbers(self.net.head)
        inference = self.net.shared() + slots * (head + sum(w.shape[1] for w in self.wirings))
        return Size(inference + self.net.own() + head + self.net.shared(), inference)

    def memo(self) -> dict[str, Any]:
        return super().memo() | {"before": self.before}

    def restore(self, memo: dict[str, Any]) -> None:
        super().restore(memo)
        self.before = memo["before"]

    def _wiring(self, slot: int) -> list[Tensor]:
        return [wiring[slot].clone() for wiring in self.wirings]

    def _keep(self, slot: int, wiring: list[Tensor]) -> None:
        """Write a wiring and the present head into a slot."""
        for own, new in zip(self.wirings, wiring, strict=True):
            own.data[slot] = new
        self.heads[slot].load_state_dict(self.net.head.state_dict())

    def _wiring_now(self, mode: int) -> list[Tensor]:
        return [layer.scores[mode].detach().argsort() for layer in self.net.layers]

    def _actor(self, wiring: list[Tensor], head: nn.Module) -> Actor:
        return plain_actor(self.make_actor(), self.net.wired(wiring, head))


def soft_sort(scores: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """SoftSort (Prillo & Eisenschlos 2020): rows softmax_j(-|s_j - s_(i)| / tau), (n, n), and the order (n,) in which the
    scores (n,) ascend, where each row is largest."""
    order = scores.argsort()
    return (-(scores[order][:, None] - scores[None]).abs() / tau).softmax(1), order


class _Permute(torch.autograd.Function):
    """x[:, order], with the gradient of x @ soft.T for the soft permutation (straight through)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, soft: Tensor, order: Tensor) -> Tensor:
        ctx.save_for_backward(x, order)
        return x[:, order]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, order = ctx.saved_tensors
        back = torch.empty_like(grad)
        back[:, order] = grad
        return back, grad.T @ x, None


class RewiredLayer(nn.Module):
    """A hidden layer and the scores that wire it.

    :param first: whether it reads the observation, whose entries are not relabelled
    """

    def __init__(self, weight: Tensor, bias: Tensor, modes: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.scores = nn.Parameter(_ranks(torch.arange(len(bias))).repeat(modes, 1))
        self.out_scores = nn.Parameter(_ranks(torch.arange(len(bias))))
        if not first:
            self.in_scores = nn.Parameter(_ranks(torch.arange(weight.shape[1])))
        self.register_buffer("old_weight", weight.clone())
        self.register_buffer("old_bias", bias.clone())

    def misalignment(self) -> Tensor:
        """||W - Z^T Wbar A||^2 + ||b - Z^T bbar||^2; both permutations hard, straight through."""
        soft, order = soft_sort(self.out_scores, ALIGNMENT_TAU)
        z = _hard(order) + (soft - soft.detach())
        moved = z.T @ self.old_weight  # type: ignore[operator]
        if not self.first:
            soft, order = soft_sort(self.in_scores, ALIGNMENT_TAU)
            moved = moved @ (_hard(order) + (soft - soft.detach()))
        return _distance(self.weight, moved) + _distance(self.bias, z.T @ self.old_bias)  # type: ignore[operator]

    def align(self) -> None:
        """Forget the relabelling."""
        self.out_scores.data.copy_(_ranks(torch.arange(len(self.bias))))
        if not self.first:
            self.in_scores.data.copy_(_ranks(torch.arange(self.weight.shape[1])))


class RewiredNet(nn.Module):
    """Layers with permutations behind them, and a head of its own for each task."""

    def __init__(self, layers: list[tuple[Tensor, Tensor]], modes: int, tau: float, beta: float) -> None:
        super().__init__()
        self.modes, self.tau, self.beta = modes, tau, beta
        self.layers: Any = nn.ModuleList(RewiredLayer(w, b, modes, i == 0) for i, (w, b) in enumerate(layers[:-1]))
        self.head = _linear(*layers[-1])
        self._drawn: tuple[int, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Outputs by one of the modes, drawn for all rows."""
        mode = int(torch.randint(self.modes, ()))
        for layer in self.layers:
            x = functional.linear(x, layer.weight, layer.bias)
            if not self.training or not torch.is_grad_enabled():
                x = x[:, layer.scores[mode].argsort()]
            else:
                x = self._wire(x, layer.scores[mode])
            x = functional.leaky_relu(x, SLOPE)
        outputs: Tensor = self.head(x)
        if self.training and torch.is_grad_enabled():
            self._drawn = mode, outputs
        return outputs

    def _wire(self, x: Tensor, scores: Tensor) -> Tensor:
        """As in an update: with noise or dropout, and K times the gradient, since one mode of K is drawn."""
        scores = scores.detach() + self.modes * (scores - scores.detach())  # exactly the scores
        if self.beta > 0:
            scores = scores - self.beta * torch.empty_like(scores).exponential_().log()
        else:
            x = functional.dropout(x, DROPOUT)
        soft, order = soft_sort(scores, self.tau)
        permuted: Tensor = _Permute.apply(x, soft, order)
        return permuted

    def disagreement(self, observations: Tensor) -> Tensor:
        """Squared distance of the outputs of the last forward pass in an update, on these observations, to another mode's."""
        assert self._drawn is not None
        mode, outputs = self._drawn
        self._drawn = None
        if self.modes == 1:
            return torch.zeros((), device=outputs.device)
        other = (mode + 1 + int(torch.randint(self.modes - 1, ()))) % self.modes
        with torch.no_grad():
            x = observations.flatten(1).float()
            for weight, bias in self.wired([layer.scores[other].argsort() for layer in self.layers], self.head)[:-1]:
                x = functional.leaky_relu(functional.linear(x, weight, bias), SLOPE)
            target = self.head(x)
            means = target.shape[1] // 2
            target[:, :means].clamp_(-LARGEST_MEAN, LARGEST_MEAN)
        return (outputs - target).square().sum()

    def misalignment(self) -> Tensor:
        """Of all layers, see `RewiredLayer`."""
        total: Tensor = sum(layer.misalignment() for layer in self.layers)
        return total

    def start_task(self, wiring: list[Tensor]) -> None:
        """All modes as wired, scores evenly spaced, no relabelling, and W, b as they are now to be compared with."""
        self.set_wiring(wiring)
        self.consolidate()

    @torch.no_grad()
    def set_wiring(self, wiring: list[Tensor]) -> None:
        """Scores by which every mode sorts into this wiring."""
        for layer, order in zip(self.layers, wiring, strict=True):
            layer.scores.copy_(_ranks(order.argsort()).expand_as(layer.scores))

    @torch.no_grad()
    def consolidate(self) -> None:
        """Take W and b as those of the last task."""
        for layer in self.layers:
            layer.old_weight.copy_(layer.weight)
            layer.old_bias.copy_(layer.bias)
            layer.align()

    @torch.no_grad()
    def roll_back(self) -> None:
        """W and b of the last task."""
        for layer in self.layers:
            layer.weight.copy_(layer.old_weight)
            layer.bias.copy_(layer.old_bias)
            layer.align()

    def follow(self, wiring: list[Tensor]) -> list[Tensor]:
        """What a kept wiring becomes when the neurons have been relabelled: p <- z_l[p][a_{l+1}^-1].

        With W' = Z^T W A, b' = Z^T b and all wirings so changed, the network computes what it did."""
        moved = []
        for i, (layer, order) in enumerate(zip(self.layers, wiring, strict=True)):
            order = layer.out_scores.detach().argsort()[order]
            if i + 1 < len(self.layers):
                order = order[self.layers[i + 1].in_scores.detach().argsort().argsort()]
            moved.append(order)
        return moved

    def wired(self, wiring: list[Tensor], head: Any) -> list[tuple[Tensor, Tensor]]:
        """Layers of a plain network that computes the same: rows in the order of the wiring."""
        layers = [
            (layer.weight.detach()[order], layer.bias.detach()[order])
            for layer, order in zip(self.layers, wiring, strict=True)
        ]
        return [*layers, (head.weight.detach(), head.bias.detach())]

    def shared(self) -> int:
        """Numbers in W and b."""
        return sum(layer.weight.numel() + layer.bias.numel() for layer in self.layers)

    def own(self) -> int:
        """Scores, of which only the order is kept."""
        return count_numbers(*self.layers) - self.shared()


def _distance(x: Tensor, permuted: Tensor) -> Tensor:
    """||x - permuted||^2, without a gradient of ||permuted||^2."""
    return (x.square() - 2 * permuted * x + permuted.detach().square()).sum()


def _ranks(positions: Tensor) -> Tensor:
    """Evenly spaced scores in [0, 1] of neurons at these positions."""
    return positions.float() / max(len(positions) - 1, 1)


def _hard(order: Tensor) -> Tensor:
    return functional.one_hot(order, len(order)).float()


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer
