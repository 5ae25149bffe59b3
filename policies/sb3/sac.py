"""Spiking policies of SAC, TQC and CrossQ."""

from typing import Any

from sb3_contrib.common.torch_layers import BatchRenorm1d
from sb3_contrib.crossq.policies import CrossQPolicy
from sb3_contrib.tqc.policies import TQCPolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from policies.sb3.common import Images, MultiInput, Slice, SpikingOffPolicy


class SpikingGaussianActor(SpikingOffPolicy):
    """Mixin for SAC's relatives: mean and log standard deviation are read from one spiking network."""

    def make_actor(self, features_extractor: Any = None) -> Any:
        actor = super().make_actor(features_extractor)
        count = get_action_dim(self.action_space)
        net = self.spiking_net(actor.features_dim, 2 * count, actor.net_arch)
        # CrossQ normalises what enters each layer; of its actor's layers the first one's remains.
        normalised = [layer for layer in actor.latent_pi[:1] if isinstance(layer, BatchRenorm1d)]
        actor.latent_pi = nn.Sequential(*normalised, net).to(self.device)
        actor.mu, actor.log_std = Slice(0, count), Slice(count, 2 * count)
        return actor


class SpikingSACPolicy(SpikingGaussianActor, SACPolicy):
    pass


class SpikingSACCnnPolicy(Images, SpikingSACPolicy):
    pass


class SpikingSACMultiInputPolicy(MultiInput, SpikingSACPolicy):
    pass


class SpikingTQCPolicy(SpikingGaussianActor, TQCPolicy):
    pass


class SpikingTQCCnnPolicy(Images, SpikingTQCPolicy):
    pass


class SpikingTQCMultiInputPolicy(MultiInput, SpikingTQCPolicy):
    pass


class SpikingCrossQPolicy(SpikingGaussianActor, CrossQPolicy):
    pass


class SpikingCrossQCnnPolicy(Images, SpikingCrossQPolicy):
    pass
