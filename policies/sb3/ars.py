"""Spiking policy of ARS, which finds its weights without gradients."""

from typing import Any

from gymnasium import spaces
from sb3_contrib.ars.policies import ARSPolicy
from torch import nn

from policies.sb3.common import SpikingPolicy


class SpikingARSPolicy(SpikingPolicy, ARSPolicy):
    """ARS changes the policy's parameters as one vector; `critic` and learning rates have no meaning here."""

    features = None

    def __init__(self, observation_space: Any, action_space: Any, **kwargs: Any) -> None:
        super().__init__(observation_space, action_space, **kwargs)
        outputs = [m for m in self.action_net.modules() if isinstance(m, nn.Linear)][-1].out_features
        net = self.spiking_net(self.features_dim, outputs, self.net_arch)
        squash = isinstance(action_space, spaces.Box) and self.squash_output
        self.action_net = nn.Sequential(net, *([nn.Tanh()] if squash else []))
