"""Hebbian policies of RecurrentPPO and ARS; of other algorithms, a refusal that says why."""

import functools
import inspect
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.ars.policies import ARSPolicy
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor, MlpExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from policies.equations.plasticity import RULES
from policies.hebbian import SEEDS, HebbianNet, NetState
from policies.names import nearest
from policies.sb3.actor_critic import action_outputs
from policies.sb3.common import ToldMismatch, predict_on
from policies.sb3.features import TanhCnn
from policies.sb3.recurrent import LSTM_ARGUMENTS

NET_ARGUMENTS = list(inspect.signature(HebbianNet).parameters)[2:]


class HebbianPolicy(ToldMismatch):
    """Mixin that goes before a policy of Stable-Baselines3 and takes the arguments of `HebbianNet` as `policy_kwargs`:
    `hidden_sizes`, `hebb_rule`, `init_weights`, `normalize`, `output`, `coefficients`, `coefficient_scale`.

    Outputs from -1 to 1 span a bounded Box of actions, as in `trainers.es`; of discrete actions the one with the largest
    output is the likeliest. The weights are the state of `predict(obs, state, episode_start)`: a tuple of arrays
    (n, inputs, outputs), one a layer, drawn anew where an episode starts, by torch's generator (`model.set_random_seed`).

    :param action_bounds: "clip" outputs to [-1, 1], or bound them smoothly: "tanh", or "car_racing" (`ActionHead`)
    """

    features: ClassVar[type[BaseFeaturesExtractor]] = FlattenExtractor
    made_of = "layers or another Hebbian rule"

    def __init__(
        self, observation_space: Any, action_space: Any, *args: Any, action_bounds: str = "clip", **kwargs: Any
    ) -> None:
        if kwargs.get("use_sde"):
            raise ValueError("Hebbian policies have no state-dependent exploration; leave use_sde=False.")
        if kwargs.get("features_extractor_class", self.features) is FlattenExtractor and is_image_space(observation_space):
            raise ValueError("HebbianPolicy takes flat observations, but these are images; use HebbianCnnPolicy.")
        self.action_bounds = action_bounds
        self.hebbian = {name: kwargs.pop(name) for name in NET_ARGUMENTS if name in kwargs}
        super().__init__(observation_space, action_space, *args, **kwargs)

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that are not Stable-Baselines3's."""
        return self.hebbian | {"action_bounds": self.action_bounds}

    def hebbian_net(self, features: int) -> HebbianNet:
        """A network with this policy's arguments."""
        return HebbianNet(features, action_outputs(self.action_space), **self.hebbian)

    @property
    def net(self) -> HebbianNet:
        """The network that acts."""
        policy: Any = self
        return next(module for module in policy.modules() if isinstance(module, HebbianNet))

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Actions, and the weights to pass with the next observations."""
        predict = functools.partial(BasePolicy.predict, self)
        return predict_on(self, self.net, predict, observation, state, episode_start, deterministic)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | self.options


class ActionHead(nn.Module):
    """Outputs (B, A) as actions (B, A) in the units of their space, or as logits.

    :param action_bounds: "clip" leaves outputs as they are (policies clip actions to the Box), "tanh" bounds them, and so
        does "car_racing", where gas and brake become sigmoid(output) (arXiv 2007.02686)
    """

    low: Tensor
    range: Tensor
    slope: Tensor

    def __init__(self, space: spaces.Space[Any], action_bounds: str) -> None:
        super().__init__()
        known = ("clip", "tanh", "car_racing")
        if action_bounds not in known:
            raise ValueError(f"Unknown action_bounds '{action_bounds}'. {nearest(action_bounds, known)}")
        if action_bounds == "car_racing" and space.shape != (3,):
            raise ValueError(f"action_bounds='car_racing' is for steering, gas and brake, not for {space}; use 'tanh'.")
        self.smooth = action_bounds != "clip"
        slope = torch.tensor([1.0, 0.5, 0.5] if action_bounds == "car_racing" else [1.0])
        self.register_buffer("slope", slope, persistent=False)
        self.spans = False
        if isinstance(space, spaces.Box) and np.isfinite([space.low, space.high]).all():
            self.spans = True
            self.register_buffer("low", torch.tensor(space.low).flatten(), persistent=False)
            self.register_buffer("range", torch.tensor(space.high - space.low).flatten(), persistent=False)

    def forward(self, outputs: Tensor) -> Tensor:
        bounded = torch.tanh(self.slope * outputs) if self.smooth else outputs
        return self.low + 0.5 * (bounded + 1.0) * self.range if self.spans else bounded


class HebbianCell(nn.Module):
    """A Hebbian network that looks like an `nn.LSTM` of one layer to RecurrentPPO, which keeps its state.

    That state is the weights of all layers, flat, and the seed of the weights that the next episode starts with; it is cut
    into two halves (1, B, hidden_size). So the weights of any episode's start can be drawn again when it is learned from.
    RecurrentPPO's first state is of zeros: the first episode of every environment starts with the weights of seed 0.
    """

    num_layers = 1

    def __init__(self, net: HebbianNet) -> None:
        super().__init__()
        self.net = net
        self.input_size = net.features
        self.shapes = [layer.shape for layer in net.plastic_layers()]
        self.sizes = [inputs * outputs for inputs, outputs in self.shapes]
        self.hidden_size = (sum(self.sizes) + 2) // 2

    def forward(self, sequence: Tensor, halves: tuple[Tensor, Tensor], starts: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Outputs (L, B, A) for observations (L, B, features), and the state afterwards.

        :param starts: where an episode starts, (L, B), 0 or 1
        """
        state, seeds = self._unpack(torch.cat(halves, -1)[0])
        outputs = []
        for x, start in zip(sequence, starts > 0, strict=True):
            if start.any():
                state, seeds = self._restart(state, seeds, start.nonzero()[:, 0])
            y, state = self.net.run(x, state)
            outputs.append(y)
        return torch.stack(outputs), self._pack(state, seeds)

    def _restart(self, state: NetState, seeds: Tensor, rows: Tensor) -> tuple[NetState, Tensor]:
        """Initial weights in these rows, and new seeds for the episodes after."""
        fresh = self.net.drawn(seeds[rows])
        state = tuple((w.index_copy(0, rows, new),) for (w,), (new,) in zip(state, fresh, strict=True))
        return state, seeds.index_copy(0, rows, torch.randint(SEEDS, (len(rows),)).to(seeds.device))

    def _unpack(self, flat: Tensor) -> tuple[NetState, Tensor]:
        *weights, seeds, _ = flat.split([*self.sizes, 1, 2 * self.hidden_size - sum(self.sizes) - 1], -1)
        state = tuple((w.reshape(-1, *shape),) for w, shape in zip(weights, self.shapes, strict=True))
        return state, seeds[:, 0].long()

    def _pack(self, state: NetState, seeds: Tensor) -> tuple[Tensor, Tensor]:
        flat = torch.cat([*(w.flatten(1) for (w,) in state), seeds[:, None].to(state[0][0].dtype)], -1)
        flat = nn.functional.pad(flat, (0, 2 * self.hidden_size - flat.shape[-1]))
        first, second = flat[None].chunk(2, -1)
        return first.contiguous(), second.contiguous()


class HebbianRecurrentPolicy(HebbianPolicy, RecurrentActorCriticPolicy):
    """RecurrentPPO learns the coefficients by backpropagation through all changes of the weights in a minibatch's
    sequences. Its buffer holds the weights at every step twice: 8 bytes * n_steps * n_envs * weights, which is 100 MB for
    1024 steps of 28-128-64-8, and 750 MB behind images.

    :param net_arch: sizes of the layers of the critic, which is a plain MLP on the observations
    """

    def __init__(
        self, observation_space: Any, action_space: Any, lr_schedule: Schedule, net_arch: Any = (64, 64), **kwargs: Any
    ) -> None:
        for name in LSTM_ARGUMENTS:
            if name in kwargs:
                raise ValueError(f"HebbianPolicy has no LSTM, so no '{name}'; give hidden_sizes, and net_arch for the critic.")
        if isinstance(net_arch, dict):
            raise ValueError("HebbianPolicy takes one list of sizes as net_arch, for the critic; the actor has hidden_sizes.")
        kwargs = {"features_extractor_class": self.features, **kwargs}
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=list(net_arch),
            enable_critic_lstm=False,
            lstm_hidden_size=1,
            **kwargs,
        )
        self.lstm_actor = HebbianCell(self.hebbian_net(self.features_dim))  # type: ignore[assignment]
        self.critic = nn.Identity()  # type: ignore[assignment]
        self.action_net = ActionHead(action_space, self.action_bounds)
        self.lstm_hidden_state_shape = (1, 1, self.lstm_actor.hidden_size)
        self.to(self.device)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _build_mlp_extractor(self) -> None:
        arch = {"pi": [], "vf": self.net_arch}
        self.mlp_extractor = MlpExtractor(self.features_dim, arch, self.activation_fn, self.device)  # type: ignore[arg-type]

    @staticmethod
    def _process_sequence(features: Tensor, lstm_states: Any, episode_starts: Tensor, lstm: Any) -> Any:
        """As in sb3-contrib, (B * L, features) -> (B * L, A), but an episode's start needs the state before it."""
        rows = lstm_states[0].shape[1]
        sequence = features.reshape(rows, -1, lstm.input_size).transpose(0, 1)
        outputs, lstm_states = lstm(sequence, lstm_states, episode_starts.reshape(rows, -1).T)
        return outputs.transpose(0, 1).flatten(0, 1), lstm_states

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:  # type: ignore[override]
        features: Any = BasePolicy.extract_features(self, observation, self.pi_features_extractor)
        return self._get_action_dist_from_latent(self.net(features)).get_actions(deterministic)


class HebbianRecurrentCnnPolicy(HebbianRecurrentPolicy):
    features = TanhCnn


class HebbianARSPolicy(HebbianPolicy, ARSPolicy):
    """ARS changes all coefficients as one vector. It plays every candidate's episodes with `predict`, which carries the
    weights. Pass zero_policy=False: around 0, opposite candidates of a rule with eta act alike."""

    def __init__(self, observation_space: Any, action_space: Any, **kwargs: Any) -> None:
        super().__init__(observation_space, action_space, net_arch=[], squash_output=False, **kwargs)
        self.features_extractor = self.features(observation_space)
        self.features_dim = self.features_extractor.features_dim
        self.action_net = nn.Sequential(self.hebbian_net(self.features_dim), ActionHead(action_space, self.action_bounds))

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {"observation_space": self.observation_space, "action_space": self.action_space} | self.options

    def load_from_vector(self, vector: Any) -> None:
        """As in Stable-Baselines3; ValueError for zeros under a rule whose changes are all products with eta."""
        names = RULES[self.net.hebb_rule]
        if "eta" in names and "D_out" not in names and not torch.as_tensor(vector).any():
            raise ValueError(
                f"ARS cannot start '{self.net.hebb_rule}' with all coefficients 0, where opposite candidates act alike; "
                "pass it zero_policy=False."
            )
        super().load_from_vector(vector)


class HebbianARSCnnPolicy(HebbianARSPolicy):
    features = TanhCnn


class RefusedHebbianPolicy(BasePolicy):
    """For algorithms that learn from single steps out of their order: weights that change from step to step are lost."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(
            "This algorithm learns from single steps and cannot carry the weights that a HebbianPolicy changes over an "
            "episode; use RecurrentPPO or ARS of sb3_contrib, or evolve it with trainers.es."
        )

    def _predict(self, observation: Any, deterministic: bool = False) -> NoReturn:
        raise NotImplementedError
