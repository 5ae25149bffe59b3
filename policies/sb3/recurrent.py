"""RecurrentPPO with spiking neurons in the place of the LSTM: potentials persist over an episode, in training too."""

from typing import Any

import torch
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from policies.sb3.actor_critic import SpikingActorCritic, SpikingExtractor, action_outputs, split_arch
from policies.spiking import NetState, SpikingNet

LSTM_ARGUMENTS = ("lstm_hidden_size", "n_lstm_layers", "shared_lstm", "enable_critic_lstm", "lstm_kwargs")
"""Arguments of sb3-contrib's recurrent policies that ours have not."""


class SpikingCell(nn.Module):
    """A spiking network that looks like an `nn.LSTM` of one layer: its state, counted from rest, is cut into two halves
    (1, B, hidden_size), which stand for hidden and cell state."""

    num_layers = 1

    def __init__(self, net: SpikingNet) -> None:
        super().__init__()
        self.net = net
        self.input_size = net.encoder.features
        self.sizes = [[x.shape[1] for x in part] for part in net.rest(1)]
        self.hidden_size = (sum(map(sum, self.sizes)) + 1) // 2

    def forward(self, sequence: Tensor, halves: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Outputs (L, B, A) for observations (L, B, features), one after the other, and the state afterwards."""
        flat_rest = self._flatten(self.net.rest(sequence.shape[1]))
        state = self._unflatten(torch.cat(halves, -1)[0] + flat_rest)
        outputs = []
        for x in sequence:
            y, state = self.net.run(x, state)
            outputs.append(y)
        first, second = (self._flatten(state) - flat_rest)[None].chunk(2, -1)
        return torch.stack(outputs), (first.contiguous(), second.contiguous())

    def _flatten(self, state: NetState) -> Tensor:
        flat = torch.cat([x for part in state for x in part], -1)
        return nn.functional.pad(flat, (0, 2 * self.hidden_size - flat.shape[-1]))

    def _unflatten(self, flat: Tensor) -> NetState:
        sizes = [size for part in self.sizes for size in part]
        pieces = iter(flat[:, : sum(sizes)].split(sizes, -1))
        return tuple(tuple(next(pieces) for _ in part) for part in self.sizes)


class SpikingRecurrentPolicy(SpikingActorCritic, RecurrentActorCriticPolicy):
    """Actor, and with `critic="spiking"` the critic, keep their potentials from step to step of an episode, as in training
    so in `predict(obs, state, episode_start)`. Both have the layers of `net_arch`, a list of sizes."""

    def __init__(self, observation_space: Any, action_space: Any, lr_schedule: Schedule, **kwargs: Any) -> None:
        if kwargs.get("stateful"):
            raise ValueError("SpikingRecurrentPolicy always keeps its state; leave out stateful=True.")
        for name in LSTM_ARGUMENTS:
            if name in kwargs:
                raise ValueError(f"SpikingRecurrentPolicy has no LSTM, so no '{name}'; give net_arch and critic.")
        if isinstance(kwargs.get("net_arch"), dict):
            raise ValueError("SpikingRecurrentPolicy takes one list of sizes as net_arch, for actor and critic.")
        spiking_critic = kwargs.get("critic") == "spiking"
        super().__init__(observation_space, action_space, lr_schedule, enable_critic_lstm=spiking_critic, **kwargs)
        pi, vf = split_arch(self.net_arch)
        self.lstm_actor = SpikingCell(self.spiking_net(self.features_dim, action_outputs(action_space), pi))  # type: ignore[assignment]
        critic, _ = self.value_network(vf)
        if isinstance(critic, SpikingNet):
            self.lstm_critic = SpikingCell(critic)  # type: ignore[assignment]
        else:
            self.critic = critic  # type: ignore[assignment]
        self.lstm_hidden_state_shape = (1, 1, self.lstm_actor.hidden_size)
        self.to(self.device)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]
        self.scale_rates(self.optimizer)

    def _build_mlp_extractor(self) -> None:
        # The networks come later, as cells. Of them, a spiking critic gives one value.
        values = 1 if self.spiking_options["critic"] == "spiking" else [self.features_dim, *split_arch(self.net_arch)[1]][-1]
        outputs = action_outputs(self.action_space)
        self.mlp_extractor = SpikingExtractor(nn.Identity(), nn.Identity(), outputs, values).to(self.device)  # type: ignore[assignment]
