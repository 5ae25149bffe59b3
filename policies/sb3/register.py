"""The table of names: which policy an algorithm means by "SpikingPolicy" or "HebbianPolicy"."""

from typing import Any

from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3

from policies.sb3 import actor_critic, ars, dqn, hebbian, recurrent, sac, td3

TD3_POLICIES = {
    "SpikingPolicy": td3.SpikingTD3Policy,
    "SpikingCnnPolicy": td3.SpikingTD3CnnPolicy,
    "SpikingMultiInputPolicy": td3.SpikingTD3MultiInputPolicy,
}
ACTOR_CRITIC_POLICIES = {
    "SpikingPolicy": actor_critic.SpikingActorCriticPolicy,
    "SpikingCnnPolicy": actor_critic.SpikingActorCriticCnnPolicy,
    "SpikingMultiInputPolicy": actor_critic.SpikingActorCriticMultiInputPolicy,
}
POLICIES: dict[type[Any], dict[str, type[Any]]] = {
    TD3: TD3_POLICIES,
    DDPG: TD3_POLICIES,
    SAC: {
        "SpikingPolicy": sac.SpikingSACPolicy,
        "SpikingCnnPolicy": sac.SpikingSACCnnPolicy,
        "SpikingMultiInputPolicy": sac.SpikingSACMultiInputPolicy,
    },
    TQC: {
        "SpikingPolicy": sac.SpikingTQCPolicy,
        "SpikingCnnPolicy": sac.SpikingTQCCnnPolicy,
        "SpikingMultiInputPolicy": sac.SpikingTQCMultiInputPolicy,
    },
    CrossQ: {  # takes no dictionaries of observations, whatever the policy
        "SpikingPolicy": sac.SpikingCrossQPolicy,
        "SpikingCnnPolicy": sac.SpikingCrossQCnnPolicy,
    },
    PPO: ACTOR_CRITIC_POLICIES,
    A2C: ACTOR_CRITIC_POLICIES,
    TRPO: {
        "SpikingPolicy": actor_critic.SpikingTRPOPolicy,
        "SpikingCnnPolicy": actor_critic.SpikingTRPOCnnPolicy,
        "SpikingMultiInputPolicy": actor_critic.SpikingTRPOMultiInputPolicy,
    },
    MaskablePPO: {
        "SpikingPolicy": actor_critic.SpikingMaskablePolicy,
        "SpikingCnnPolicy": actor_critic.SpikingMaskableCnnPolicy,
        "SpikingMultiInputPolicy": actor_critic.SpikingMaskableMultiInputPolicy,
    },
    RecurrentPPO: {
        "SpikingRecurrentPolicy": recurrent.SpikingRecurrentPolicy,
        "HebbianPolicy": hebbian.HebbianRecurrentPolicy,
        "HebbianCnnPolicy": hebbian.HebbianRecurrentCnnPolicy,
    },
    DQN: {
        "SpikingPolicy": dqn.SpikingDQNPolicy,
        "SpikingCnnPolicy": dqn.SpikingDQNCnnPolicy,
        "SpikingMultiInputPolicy": dqn.SpikingDQNMultiInputPolicy,
    },
    QRDQN: {
        "SpikingPolicy": dqn.SpikingQRDQNPolicy,
        "SpikingCnnPolicy": dqn.SpikingQRDQNCnnPolicy,
        "SpikingMultiInputPolicy": dqn.SpikingQRDQNMultiInputPolicy,
    },
    ARS: {
        "SpikingPolicy": ars.SpikingARSPolicy,
        "HebbianPolicy": hebbian.HebbianARSPolicy,
        "HebbianCnnPolicy": hebbian.HebbianARSCnnPolicy,
    },
}
REFUSED: dict[str, type[Any]] = {
    "HebbianPolicy": hebbian.RefusedHebbianPolicy,
    "HebbianCnnPolicy": hebbian.RefusedHebbianPolicy,
}
"""What these names mean to all other algorithms: one sentence why not."""


def register_policies() -> None:
    """Give every algorithm of `POLICIES` its names, in a dictionary of its own (a subclass may share its parent's)."""
    for algorithm, names in POLICIES.items():
        algorithm.policy_aliases = {**algorithm.policy_aliases, **REFUSED, **names}
