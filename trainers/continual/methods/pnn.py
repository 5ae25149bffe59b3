"""Progressive neural networks."""

from itertools import pairwise
from typing import Any, ClassVar

import torch
from stable_baselines3.sac.policies import Actor
from torch import Tensor, nn
from torch.nn import functional

from trainers.continual.methods.base import SLOPE, Judge, Method, Size, count_numbers, layers_of, with_net


class ProgressiveNetworks(Method):
    """A new column for every task, which reads the frozen ones before it (Rusu et al. 2016).

    Layer i >= 1 of column c computes, with the activities h of all earlier columns side by side,

        x_i = act(W_i x_{i-1} + U_i act(V_i (a_i * [h_{i-1}^0, ..., h_{i-1}^{c-1}])))

    without an activation of the last layer, which the released code gives to its first column.

    :param hidden: size of the hidden layers of a column; there are as many as in the policy
    """

    needs_layers: ClassVar[bool] = True

    def __init__(self, *args: Any, hidden: int = 96, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if hidden < 1:
            raise ValueError(f"hidden={hidden} must be at least 1.")
        layers = layers_of(self.actor, "pnn")
        self.sizes = [layers[0][0].shape[1], *([hidden] * (len(layers) - 1)), len(layers[-1][1])]
        with_net(self.actor, Columns([Column(self.sizes, 0)]))

    @property
    def net(self) -> "Columns":
        """All columns so far."""
        net: Any = self.actor.latent_pi
        return net

    def before_task(self, task: int, judge: Judge) -> None:
        super().before_task(task, judge)
        if task > 0:
            self.net.requires_grad_(False)
            self.net.columns.append(Column(self.sizes, task).to(self.net.device))

    def actor_for(self, task: int) -> Actor:
        if task >= len(self.net.columns):
            return self.actor
        return with_net(self.make_actor(), Columns(list(self.net.columns)[: task + 1]))

    def size(self) -> Size:
        count = count_numbers(self.net)
        return Size(count, count)

    def restore(self, memo: dict[str, Any]) -> None:
        super().restore(memo)
        for c in range(1, self.task + 1):
            self.net.requires_grad_(False)
            self.net.columns.append(Column(self.sizes, c))


class Column(nn.Module):
    """One column, which reads `earlier` others.

    :param sizes: of observations, hidden layers and outputs
    """

    def __init__(self, sizes: list[int], earlier: int) -> None:
        super().__init__()
        pairs = list(pairwise(sizes))
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairs)
        self.gains = nn.ParameterList()
        self.reads, self.adds = nn.ModuleList(), nn.ModuleList()
        for i, o in pairs[1:] if earlier else ():
            self.gains.append(torch.rand(()) / earlier)
            self.reads.append(nn.Linear(i * earlier, i, bias=False))
            self.adds.append(nn.Linear(i, o))

    def forward(self, x: Tensor, others: list[list[Tensor]]) -> list[Tensor]:
        """Activities of its hidden layers, and its outputs.

        :param others: what the earlier columns returned
        """
        activities: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            y = layer(activities[-1] if activities else x)
            if i and others:
                beside = self.gains[i - 1] * torch.cat([h[i - 1] for h in others], -1)
                y = y + self.adds[i - 1](functional.leaky_relu(self.reads[i - 1](beside), SLOPE))
            activities.append(y if i + 1 == len(self.layers) else functional.leaky_relu(y, SLOPE))
        return activities


class Columns(nn.Module):
    """Columns side by side; the outputs are those of the last."""

    def __init__(self, columns: list[nn.Module]) -> None:
        super().__init__()
        self.columns = nn.ModuleList(columns)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, x: Tensor) -> Tensor:
        activities: list[list[Tensor]] = []
        for column in self.columns:
            activities.append(column(x, activities))
        return activities[-1][-1]
