"""Spiking policies of PPO, A2C, TRPO and MaskablePPO."""

from typing import Any

from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import MlpExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from policies.sb3.common import Images, MultiInput, SpikingPolicy


class SpikingExtractor(nn.Module):
    """In the place of Stable-Baselines3's MlpExtractor: what it gives for the actor are action parameters already."""

    def __init__(self, policy_net: nn.Module, value_net: nn.Module, latent_dim_pi: int, latent_dim_vf: int) -> None:
        super().__init__()
        self.policy_net, self.value_net = policy_net, value_net
        self.latent_dim_pi, self.latent_dim_vf = latent_dim_pi, latent_dim_vf

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        out: Tensor = self.policy_net(features)
        return out

    def forward_critic(self, features: Tensor) -> Tensor:
        out: Tensor = self.value_net(features)
        return out


class SpikingActorCritic(SpikingPolicy):
    """Mixin for actor-critic policies. Weights are drawn by `initial_rate`, so `ortho_init` is False by default."""

    deterministic_coding = True

    def __init__(self, *args: Any, ortho_init: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, ortho_init=ortho_init, **kwargs)

    def _build_mlp_extractor(self) -> None:
        policy: Any = self
        outputs = action_outputs(policy.action_space)
        pi, vf = split_arch(policy.net_arch)
        critic, values = self.value_network(vf)
        actor = self.spiking_net(policy.features_dim, outputs, pi)
        policy.mlp_extractor = SpikingExtractor(actor, critic, outputs, values).to(policy.device)

    def value_network(self, net_arch: list[int]) -> tuple[nn.Module, int]:
        """The critic below its last linear layer, and how many numbers it gives; or a whole spiking critic, and 1."""
        policy: Any = self
        if self.spiking_options["critic"] == "spiking":
            return self.spiking_net(policy.features_dim, 1, net_arch), 1
        mlp = MlpExtractor(policy.features_dim, {"pi": [], "vf": net_arch}, policy.activation_fn)
        return mlp.value_net, mlp.latent_dim_vf

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        self.drop_linear_heads()

    def drop_linear_heads(self) -> None:
        """Take Stable-Baselines3's last linear layers away where a decoder gives what they would."""
        policy: Any = self
        policy.action_net = nn.Identity()
        if self.spiking_options["critic"] == "spiking":
            policy.value_net = nn.Identity()
        kept = {id(p) for p in policy.parameters()}
        for group in policy.optimizer.param_groups:
            group["params"] = [p for p in group["params"] if id(p) in kept]


def split_arch(net_arch: Any) -> tuple[list[int], list[int]]:
    """Sizes of the actor's and the critic's layers."""
    return (net_arch["pi"], net_arch["vf"]) if isinstance(net_arch, dict) else (net_arch, net_arch)


def action_outputs(space: spaces.Space[Any]) -> int:
    """How many numbers describe the distribution over an action space, besides a standard deviation."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    return get_action_dim(space)


class SpikingActorCriticPolicy(SpikingActorCritic, ActorCriticPolicy):
    pass


class SpikingActorCriticCnnPolicy(Images, SpikingActorCriticPolicy):
    pass


class SpikingActorCriticMultiInputPolicy(MultiInput, SpikingActorCriticPolicy):
    pass


class SpikingTRPOPolicy(SpikingActorCriticPolicy):
    """TRPO needs second derivatives, which the fused neurons have not."""

    def __init__(self, *args: Any, neuron_kwargs: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, neuron_kwargs={**(neuron_kwargs or {}), "fused": False}, **kwargs)


class SpikingTRPOCnnPolicy(Images, SpikingTRPOPolicy):
    pass


class SpikingTRPOMultiInputPolicy(MultiInput, SpikingTRPOPolicy):
    pass


class SpikingMaskablePolicy(SpikingActorCritic, MaskableActorCriticPolicy):  # type: ignore[misc]
    pass


class SpikingMaskableCnnPolicy(Images, SpikingMaskablePolicy):  # type: ignore[misc]
    pass


class SpikingMaskableMultiInputPolicy(MultiInput, SpikingMaskablePolicy):  # type: ignore[misc]
    pass
