"""Spiking policies of TD3 and DDPG."""

from typing import Any

from stable_baselines3.td3.policies import Actor, TD3Policy
from torch import nn

from policies.sb3.common import Images, MultiInput, SpikingOffPolicy


class SpikingTD3Policy(SpikingOffPolicy, TD3Policy):
    """A spiking actor; its output passes through tanh."""

    def make_actor(self, features_extractor: Any = None) -> Actor:
        actor: Any = super().make_actor(features_extractor)
        outputs = actor.mu[-2].out_features
        net = self.spiking_net(actor.features_dim, outputs, actor.net_arch)
        actor.mu = nn.Sequential(net, nn.Tanh()).to(self.device)
        return actor


class SpikingTD3CnnPolicy(Images, SpikingTD3Policy):
    pass


class SpikingTD3MultiInputPolicy(MultiInput, SpikingTD3Policy):
    pass
