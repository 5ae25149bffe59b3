"""What every continual method is made of."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.sac.policies import Actor
from torch import Tensor, nn

from policies.sb3.common import Slice

if TYPE_CHECKING:
    from trainers.continual.sac import ContinualSAC

SLOPE = 0.2
"""Of the LeakyReLU behind every hidden layer of MlpPolicy."""


class Activation(nn.LeakyReLU):
    """LeakyReLU, as Stable-Baselines3 wants it: made without arguments."""

    def __init__(self) -> None:
        super().__init__(SLOPE, inplace=True)


class Size(NamedTuple):
    """How many numbers a method keeps."""

    train: int
    """For learning the next task: stored policies, anchors, importances, memories."""
    inference: int
    """For acting in all tasks so far."""


class Method(nn.Module, ABC):
    """A continual learner of policies: what is kept of earlier tasks, and what that does to the learning of the next one.

    Only actors are continual; critics, replay buffer and optimisers are SAC's. Tasks are numbered in the order in which
    they are learned, and the number is known whenever a method acts. What a method has to remember is in its `state_dict`
    and in `memo()`.

    :param make_actor: a new actor of SAC's policy
    :param n_tasks: how many tasks there will be
    """

    make_actor: Callable[[], Actor]
    actor: Actor
    """Which acts and learns in the present task."""
    new_critics: ClassVar[bool] = False
    """Whether every task has new critics; else they go on learning."""
    needs_layers: ClassVar[bool] = False
    """Whether it works on the layers of MlpPolicy; else it takes any policy."""

    def __init__(self, make_actor: Callable[[], Actor], n_tasks: int) -> None:
        super().__init__()
        self.make_actor = make_actor
        self.n_tasks = n_tasks
        self.task = -1
        self.actor = make_actor()

    def wrap(self, env: VecEnv) -> VecEnv:
        """The environment as this method's actor sees it."""
        return env

    def before_task(self, task: int, judge: "Judge") -> None:
        """Get ready to learn a task; the learner is made afterwards, with `actor` as it is then."""
        self.task = task

    def trained(self) -> list[nn.Parameter]:
        """What the optimiser of the present task moves."""
        return [p for p in self.actor.parameters() if p.requires_grad]

    def redraw(self, observations: Tensor) -> Tensor:
        """Observations of a batch, in which what the method itself put there may be drawn anew."""
        return observations

    def loss(self, observations: Tensor) -> Tensor | None:
        """What is added to SAC's loss of the actor."""
        return None

    def constrain(self) -> None:
        """Change the gradients of the actor before its optimiser's step."""

    def after_task(self, learner: "ContinualSAC", judge: "Judge") -> str | None:
        """Keep of the task that has been learned what the method wants to keep; what a user should know of it."""
        return None

    def actor_for(self, task: int) -> Actor:
        """The actor for a task, also one that has not been learned yet."""
        return self.actor

    def size(self) -> Size:
        """See `Size`; here that of one actor."""
        count = count_numbers(self.actor)
        return Size(count, count)

    def memo(self) -> dict[str, Any]:
        """What a checkpoint has to know before the `state_dict` fits, in JSON."""
        return {"task": self.task}

    def restore(self, memo: dict[str, Any]) -> None:
        """Undo `memo`: the same modules as there were then, with any numbers in them."""
        self.task = memo["task"]


class OneEach(Method):
    """A method that keeps an actor for every task."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept = nn.ModuleList()

    @abstractmethod
    def next_actor(self) -> Actor:
        """Where the learning of a task after the first starts."""

    def before_task(self, task: int, judge: "Judge") -> None:
        super().before_task(task, judge)
        if task > 0:
            self.kept.append(frozen_copy(self.actor))
            self.actor = self.next_actor()

    def actor_for(self, task: int) -> Actor:
        """That of the task, or the present one for tasks to come."""
        return self.kept[task] if task < len(self.kept) else self.actor  # type: ignore[return-value]

    def size(self) -> Size:
        count = count_numbers(self.actor, *self.kept)
        return Size(count, count)

    def restore(self, memo: dict[str, Any]) -> None:
        super().restore(memo)
        self.kept.extend(frozen_copy(self.actor) for _ in range(max(self.task, 0)))


class Judge(NamedTuple):
    """How a method can try what it has learned in the present task's environment; every step is counted."""

    returns: Callable[[nn.Module, int], np.ndarray]
    """Returns of so many episodes with an actor, (episodes,)."""
    rewards: Callable[[nn.Module, int, int], np.ndarray]
    """What each of n environments earns in so many steps from a start, (n,); row i of the observations is of environment i."""


def frozen_copy(actor: Actor) -> Actor:
    """A copy that does not learn, without what learning has left behind: the optimiser, and a distribution with gradients."""
    new = SquashedDiagGaussianDistribution(get_action_dim(actor.action_space))
    kept = copy.deepcopy(actor, {id(actor.__dict__.get("optimizer")): None, id(actor.action_dist): new})
    kept.requires_grad_(False)
    return kept


def count_numbers(*modules: nn.Module) -> int:
    """Parameters of modules."""
    return sum(p.numel() for module in modules for p in module.parameters())


def named(actor: Actor) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that can learn, by names that can be those of buffers."""
    for name, parameter in actor.named_parameters():
        if parameter.requires_grad:
            yield name.replace(".", "__"), parameter


def squared_distance(actor: Actor, anchor: nn.Module, importance: nn.Module | None = None) -> Tensor:
    """Sum over the actor's parameters of importance (theta - anchor)^2; without importances these are 1."""
    total = torch.zeros(())
    for name, parameter in named(actor):
        squares = (parameter - anchor.get_buffer(name)).square()
        total = total.to(parameter.device) + (squares if importance is None else importance.get_buffer(name) * squares).sum()
    return total


def snapshot(actor: Actor, fill: Callable[[Tensor], Tensor] = torch.clone) -> nn.Module:
    """Buffers named and shaped like an actor's parameters."""
    module = nn.Module()
    for name, parameter in named(actor):
        module.register_buffer(name, fill(parameter.detach()))
    return module


def layers_of(actor: Actor, method: str) -> list[tuple[Tensor, Tensor]]:
    """Weights (out, in) and biases (out,) of the hidden layers of an actor without spikes, and of both heads as one layer
    (means above log standard deviations). ValueError, in the method's name, for another actor."""
    hidden = [layer for layer in actor.latent_pi if isinstance(layer, nn.Linear)]
    if 2 * len(hidden) != len(actor.latent_pi) or not isinstance(actor.mu, nn.Linear):
        raise ValueError(
            f"The method '{method}' works on the layers of MlpPolicy; give --policy MlpPolicy, or another method."
        )
    if any(getattr(act, "negative_slope", None) != SLOPE for act in list(actor.latent_pi)[1::2]):
        raise ValueError(
            f"The method '{method}' makes layers with LeakyReLU({SLOPE}); give the policy activation_fn=Activation."
        )
    heads = [torch.cat([getattr(actor.mu, name), getattr(actor.log_std, name)]) for name in ("weight", "bias")]
    layers = [(layer.weight, layer.bias) for layer in hidden] + [(heads[0], heads[1])]
    return [(weight.detach().clone(), bias.detach().clone()) for weight, bias in layers]


@torch.no_grad()
def plain_actor(actor: Actor, layers: list[tuple[Tensor, Tensor]]) -> Actor:
    """The actor with these layers (see `layers_of`), which does not learn."""
    hidden = [layer for layer in actor.latent_pi if isinstance(layer, nn.Linear)]
    for layer, (weight, bias) in zip(hidden, layers[:-1], strict=True):
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    for i, head in enumerate((actor.mu, actor.log_std)):
        assert isinstance(head, nn.Linear)
        rows = slice(i * head.out_features, (i + 1) * head.out_features)
        head.weight.copy_(layers[-1][0][rows])
        head.bias.copy_(layers[-1][1][rows])
    actor.requires_grad_(False)
    return actor


def with_net(actor: Actor, net: nn.Module) -> Actor:
    """The actor with a network of all its outputs, means before log standard deviations, in place of its layers."""
    count = actor.action_space.shape[0]
    actor.latent_pi = net  # type: ignore[assignment]
    actor.mu = Slice(0, count)
    actor.log_std = Slice(count, 2 * count)  # type: ignore[assignment]
    return actor
