"""Spiking policies of DQN and QR-DQN. The decoders' outputs have no bounds, so values of any size can be learned."""

from typing import Any

from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3.dqn.policies import DQNPolicy

from policies.sb3.common import Images, MultiInput, SpikingPolicy


class SpikingDQNPolicy(SpikingPolicy, DQNPolicy):
    def make_q_net(self) -> Any:
        q_net: Any = super().make_q_net()
        outputs = q_net.q_net[-1].out_features
        q_net.q_net = self.spiking_net(q_net.features_dim, outputs, q_net.net_arch).to(self.device)
        return q_net


class SpikingDQNCnnPolicy(Images, SpikingDQNPolicy):
    pass


class SpikingDQNMultiInputPolicy(MultiInput, SpikingDQNPolicy):
    pass


class SpikingQRDQNPolicy(SpikingPolicy, QRDQNPolicy):
    def make_quantile_net(self) -> Any:
        q_net: Any = super().make_quantile_net()
        outputs = q_net.quantile_net[-1].out_features
        net = self.spiking_net(q_net.features_dim, outputs, q_net.net_arch)
        q_net.quantile_net = net.to(self.device)
        return q_net


class SpikingQRDQNCnnPolicy(Images, SpikingQRDQNPolicy):
    pass


class SpikingQRDQNMultiInputPolicy(MultiInput, SpikingQRDQNPolicy):
    pass
