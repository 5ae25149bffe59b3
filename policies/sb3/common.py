"""What all spiking policies share: their arguments, learning rates, and membranes that outlast a step."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from policies.names import nearest
from policies.spiking import NetState, SpikingNet

NET_ARGUMENTS = list(inspect.signature(SpikingNet).parameters)[3:]
"""What policies pass on to their networks, whose sizes they know themselves."""


class Carrying(Protocol):
    """A network whose state, while `carried` is set, moves on with every call."""

    carried: NetState | None

    def rest(self, batch: int) -> NetState:
        """The state at the start of `batch` episodes."""


# What the mixins go before; for type checkers, any policy will do.
_Base: Any = object


class ToldMismatch(_Base):
    """Mixin for policies that say in one sentence why parameters do not fit them.

    `made_of` names what may differ.
    """

    made_of: ClassVar[str]

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As torch's, with one sentence when the parameters are of another network."""
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            own = self.state_dict()
            wrong = [name for name in {**own, **state_dict} if _shape(own, name) != _shape(state_dict, name)]
            raise ValueError(
                f"These parameters are of a policy with other {self.made_of}: "
                f"'{wrong[0]}' is {_shape(state_dict, wrong[0])}, but {_shape(own, wrong[0])} in this policy; "
                "make it with the policy_kwargs that they were saved with."
            ) from error


class SpikingPolicy(ToldMismatch):
    """Mixin that goes before a policy of Stable-Baselines3 and takes these arguments (`policy_kwargs`) besides that policy's
    own and those of `SpikingNet`: `n_timesteps`, `encoder`, `decoder`, `encoder_kwargs`, `decoder_kwargs`, `neuron`,
    `neuron_kwargs`, `surrogate`, `surrogate_width`, `initial_rate`, `precision`.

    :param net_arch: sizes of the spiking layers, or a dictionary as in Stable-Baselines3 (default: 256, 256)
    :param critic: "mlp" or "spiking"
    :param stateful: `predict` lets potentials persist from one step of the environment to the next. Training is from rest
        all the same; `SpikingRecurrentPolicy` trains with what `predict` does.
    :param coder_lr_scale: the encoder's and decoder's learning rate as a multiple of the actor's
    :param lr_scale: the actor's learning rate as a multiple of the algorithm's
    """

    features: ClassVar[type[BaseFeaturesExtractor] | None] = FlattenExtractor  # None: the policy takes no such argument
    made_of = "coders, layers or neurons"
    deterministic_coding: ClassVar[bool] = False  # for algorithms that compare the probabilities of two passes

    def __init__(
        self,
        *args: Any,
        net_arch: Any = None,
        critic: str = "mlp",
        stateful: bool = False,
        coder_lr_scale: float = 1.0,
        lr_scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if critic not in ("mlp", "spiking"):
            raise ValueError(f"Unknown critic '{critic}'. {nearest(critic, ('mlp', 'spiking'))}")
        for name, scale in (("coder_lr_scale", coder_lr_scale), ("lr_scale", lr_scale)):
            if not scale > 0:
                raise ValueError(f"{name}={scale} must be positive.")
        if kwargs.get("use_sde"):
            raise ValueError("Spiking policies have no state-dependent exploration; leave use_sde=False.")
        self.spiking = {name: kwargs.pop(name) for name in NET_ARGUMENTS if name in kwargs}
        self.spiking_options: dict[str, Any] = {
            "critic": critic,
            "stateful": stateful,
            "coder_lr_scale": coder_lr_scale,
            "lr_scale": lr_scale,
        }
        if self.features is not None:
            kwargs.setdefault("features_extractor_class", self.features)
        super().__init__(*args, net_arch=[256, 256] if net_arch is None else net_arch, **kwargs)

    def spiking_net(self, features: int, outputs: int, net_arch: list[int], **others: Any) -> SpikingNet:
        """A network with this policy's arguments, and `others` in place of some of them."""
        net = SpikingNet(features, outputs, net_arch, **(self.spiking | others))
        if self.deterministic_coding and net.encoder.stochastic:
            raise ValueError(
                f"The encoder '{self.spiking['encoder']}' draws at random, so that this algorithm would compare probabilities "
                "of different draws; use 'adaptive', 'direct', 'latency', or 'population' with coding='deterministic'."
            )
        return net

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        holder: Any = getattr(self, "actor", self)
        self.scale_rates(holder.optimizer)

    def scale_rates(self, optimizer: torch.optim.Optimizer) -> None:
        """Sort a new optimizer's parameters into groups by their multiple of the learning rate."""
        scale, coder_scale = self.spiking_options["lr_scale"], self.spiking_options["coder_lr_scale"]
        if scale == coder_scale == 1.0:
            return
        holder: Any = getattr(self, "actor", self)
        nets = [m for m in holder.modules() if isinstance(m, SpikingNet)]
        multiples = {id(p): scale for net in nets for p in net.parameters()}
        multiples |= {id(p): scale * coder_scale for net in nets for c in (net.encoder, net.decoder) for p in c.parameters()}
        groups: dict[float, list[nn.Parameter]] = {}
        for parameter in optimizer.param_groups[0]["params"]:
            groups.setdefault(multiples.get(id(parameter), 1.0), []).append(parameter)
        rest = {name: value for name, value in optimizer.param_groups[0].items() if name != "params"}
        optimizer.param_groups = [{**rest, "params": group, "lr_scale": multiple} for multiple, group in groups.items()]
        optimizer.register_step_pre_hook(_scale_rates)
        optimizer.register_step_post_hook(_restore_rates)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | self.spiking | self.spiking_options

    def set_training_mode(self, mode: bool) -> None:
        """As in Stable-Baselines3, where every `predict` walks through all modules; here only when the mode changes."""
        if mode != self.training:
            super().set_training_mode(mode)

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        **kwargs: Any,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Actions, and the state to pass with the next observations (None unless `stateful`)."""
        if not self.spiking_options["stateful"]:
            return super().predict(observation, state, episode_start, deterministic, **kwargs)
        return predict_on(self, acting_net(self), super().predict, observation, state, episode_start, deterministic, **kwargs)


class SpikingOffPolicy(SpikingPolicy):
    """Mixin for policies with critics of states and actions, as TD3's and SAC's."""

    def make_critic(self, features_extractor: Any = None) -> Any:
        critic = super().make_critic(features_extractor)
        if self.spiking_options["critic"] == "spiking":
            for i, mlp in enumerate(critic.q_networks):
                linear = [module for module in mlp.modules() if isinstance(module, nn.Linear)]
                net = self.spiking_net(linear[0].in_features, linear[-1].out_features, self.critic_kwargs["net_arch"])
                critic.q_networks[i] = net.to(linear[0].weight.device)
                setattr(critic, f"qf{i}", net)
        return critic


def acting_net(policy: Any) -> SpikingNet:
    """The network that chooses a policy's actions."""
    acting = getattr(policy, "actor", policy)
    return next(module for module in acting.modules() if isinstance(module, SpikingNet))


def predict_on(
    policy: Any,
    net: Carrying,
    predict: Callable[..., tuple[np.ndarray, Any]],
    observation: Any,
    state: tuple[np.ndarray, ...] | None,
    episode_start: np.ndarray | None,
    deterministic: bool,
    **kwargs: Any,
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Actions of a policy's stateless `predict` while its `net` goes on from `state`, and the state afterwards.

    The net is at rest where `episode_start` is True, or everywhere when `state` is None.
    """
    batch = policy.obs_to_tensor(observation)[0]
    rows = len(next(iter(batch.values())) if isinstance(batch, dict) else batch)
    starts = np.full(rows, state is None)
    if episode_start is not None:
        starts |= np.asarray(episode_start, bool)
    with torch.no_grad():
        rest = net.rest(int(starts.sum()))
    net.carried = rest if state is None else unflatten(state, rest, starts)
    try:
        actions, _ = predict(observation, deterministic=deterministic, **kwargs)
        return actions, tuple(x.cpu().numpy() for part in net.carried for x in part)
    finally:
        net.carried = None


def unflatten(state: tuple[np.ndarray, ...], rest: NetState, starts: np.ndarray) -> NetState:
    """A state of `predict` in the form of `rest`, which is put into the rows where an episode starts."""
    shapes = [(len(starts), *r.shape[1:]) for part in rest for r in part]
    if [x.shape for x in state] != shapes:
        raise ValueError(f"The state has shapes {[x.shape for x in state]}, but must have {shapes}.")
    flat = iter(state)
    parts = []
    for part in rest:
        loaded = [torch.tensor(next(flat), dtype=r.dtype, device=r.device) for r in part]
        for x, r in zip(loaded, part, strict=True):
            x[torch.as_tensor(starts, device=r.device)] = r
        parts.append(tuple(loaded))
    return tuple(parts)


def _shape(state_dict: Mapping[str, Any], name: str) -> str:
    return str(tuple(state_dict[name].shape)) if name in state_dict else "missing"


def _scale_rates(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    """Stable-Baselines3 writes one learning rate into every group before each update; each takes its multiple of it."""
    for group in optimizer.param_groups:
        group["lr"] *= group["lr_scale"]


def _restore_rates(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    for group in optimizer.param_groups:
        group["lr"] /= group["lr_scale"]


class Images:
    """Mixin for images: Stable-Baselines3's NatureCNN, not spiking, before the spiking layers."""

    features: ClassVar[type[BaseFeaturesExtractor] | None] = NatureCNN


class MultiInput:
    """Mixin for dictionaries of observations."""

    features: ClassVar[type[BaseFeaturesExtractor] | None] = CombinedExtractor


class Slice(nn.Module):
    """The columns [start, stop) of its input."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.start : self.stop]
