"""What a decision costs: closed forms, counts by hand, and what is logged."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DQN, PPO, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Logger, make_output_format
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from policies.energy import E_AC, E_MAC, EnergyCallback, EnergyCard, Tally, count_energy
from policies.spiking import SpikingNet
from policies.watch import Watch, play


class Bare(nn.Module):
    """A network as if it were a policy."""

    def __init__(self, net: SpikingNet) -> None:
        super().__init__()
        self.net = net


def counted(net: SpikingNet, x: torch.Tensor, **counting: bool) -> EnergyCard:
    with Watch(Bare(net)) as watch:
        tally = Tally(watch)
        net(x)
        tally.add()
    return tally.card(**counting)


def always_firing(features: int, outputs: int, net_arch: list[int], **kwargs: object) -> SpikingNet:
    """Every neuron fires at every step."""
    net = SpikingNet(features, outputs, net_arch, initial_rate=None, **kwargs)
    layers = [*net.layers, *([net.decoder] if net.decoder.population else [])]
    for layer in layers:
        nn.init.zeros_(layer.linear.weight)
        nn.init.constant_(layer.linear.bias, 100.0)
    return net


def layer_costs(card: EnergyCard) -> dict[str, tuple[float, float]]:
    return {layer.name: (layer.macs, layer.synops) for layer in card.layers}


def test_acsf_on_half_cheetah() -> None:
    """ACSF's actor takes 17 observations and 6 actions. The released code decodes by two maps, 4 * 256 -> 256 -> 6: those
    are 262,144 AC and 1,536 MAC, together 27,204 MAC and 524,288 AC. One map, 4 * 256 -> 6, is 6,144 AC."""
    card = counted(always_firing(23, 6, [256, 256], n_timesteps=4), torch.zeros(3, 23))
    assert layer_costs(card) == {
        "encoder": (2_116, 0),
        "layer 0": (23_552, 0),
        "layer 1": (0, 262_144),
        "decoder": (0, 6_144),
    }
    assert card.macs == 27_204 - 1_536
    assert card.synops == 524_288 - 262_144 + 6_144
    assert card.ann_macs == 72_960
    assert card.ann_energy_pj == pytest.approx(335_616)  # 335.6 nJ
    assert card.energy_pj == pytest.approx(25_668 * 4.6 + 268_288 * 0.9)
    assert card.energy_ratio == pytest.approx(card.ann_energy_pj / card.energy_pj)


@pytest.mark.parametrize(("features", "macs"), [(119, 180_548 - 2_048), (17, 1_156 + 17_408)])
def test_wide_observations_make_the_dense_encoder_dear(features: int, macs: int) -> None:
    net = SpikingNet(features, 8, [256, 256], n_timesteps=4)
    assert counted(net, torch.randn(5, features)).macs == macs
    narrow = SpikingNet(features, 8, [256, 256], n_timesteps=4, encoder_kwargs={"time_only": True})
    assert counted(narrow, torch.randn(5, features)).macs == macs - 4 * features**2 + 4 * features


@pytest.mark.parametrize(
    ("encoder", "kwargs", "encoding", "first"),
    [
        ("adaptive", {}, (3 * 2 * 2, 0), (3 * 2 * 5, 0)),
        ("adaptive", {"time_only": True}, (3 * 2, 0), (3 * 2 * 5, 0)),
        ("direct", {}, (0, 0), (2 * 5, 0)),  # the current is the same at every step and multiplied once
        ("population", {"n_pop": 4, "coding": "direct"}, (2 * 8, 0), (8 * 5, 0)),
        ("population", {"n_pop": 4}, (2 * 8, 0), None),
        ("rate", {}, (0, 0), None),
        ("latency", {}, (0, 0), (0, 2 * 5)),  # one spike a feature
    ],
)
def test_encoders(encoder: str, kwargs: dict, encoding: tuple, first: tuple | None) -> None:
    net = SpikingNet(2, 1, [5], n_timesteps=3, encoder=encoder, encoder_kwargs=kwargs).eval()
    x = torch.randn(7, 2)
    costs = layer_costs(counted(net, x))
    spikes = float(net.encoder(x)[0].detach().sum()) / 7
    assert costs["encoder"] == encoding
    assert costs["layer 0"] == (pytest.approx((0, spikes * 5)) if first is None else first)


@pytest.mark.parametrize(
    ("decoder", "synops"),
    [
        ("adaptive", 3 * 5 * 2),
        ("rate", 3 * 5 * 2),
        ("membrane", 3 * 5 * 2),
        ("population", 3 * 5 * 8 + 3 * 8),  # into its 8 neurons, and from each to its output
        ("lateral", 3 * 5 * 8 + 3 * 8 + 2 * 8 * 4),  # and to the 4 of its action, one step later
    ],
)
def test_decoders(decoder: str, synops: int) -> None:
    own = {"n_pop": 4} if decoder in ("population", "lateral") else {}
    net = always_firing(2, 2, [5], n_timesteps=3, decoder=decoder, decoder_kwargs=own)
    if decoder == "lateral":
        nn.init.zeros_(net.decoder.lateral)
    card = counted(net, torch.zeros(4, 2))
    assert layer_costs(card)["decoder"] == (0, synops)
    if own:
        assert card.layers[-1].rate == 1.0
    net.carried = net.run(torch.zeros(4, 2))[1]
    carried = layer_costs(counted(net, torch.zeros(4, 2)))["decoder"][1]
    assert carried == synops + (8 * 4 if decoder == "lateral" else 0)  # the last call's spikes arrive too


def test_known_spikes() -> None:
    """Two features as direct currents into three neurons: one fires at every step, one at every other, one never."""
    net = SpikingNet(2, 2, [3, 4], n_timesteps=4, encoder="direct", initial_rate=None, surrogate="rectangular")
    with torch.no_grad():
        net.layers[0].linear.weight.copy_(torch.tensor([[3.0, 0.0], [1.5, 0.0], [0.0, 1.0]]))
        net.layers[0].linear.bias.zero_()
        net.layers[1].linear.weight.zero_()
        net.layers[1].linear.bias.zero_()
    card = counted(net, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    first, second = card.layers[1:3]
    assert (first.macs, first.synops) == (6, 0)
    assert first.rate == pytest.approx((4 + 2) / (2 * 4 * 3))
    assert first.silent == pytest.approx(1 / 3)
    # Within 1/2 of the threshold 1 at 4 + 4 steps in the first row (1.5; 0.75, 1.125), never in the second.
    assert first.in_window == pytest.approx((0 + 4) / 24)
    assert (second.macs, second.synops) == (0, (4 + 2) / 2 * 4)
    assert (second.rate, second.silent, second.in_window) == (0, 1, 0)
    updates = counted(net, torch.zeros(1, 2), neuron_updates=True)
    assert updates.macs == 6 + 4 * (3 + 4)


def test_rollout_counts_the_decisions_of_whole_episodes_and_leaves_no_hooks() -> None:
    model = TD3("SpikingPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [16, 16]}, seed=0)
    env = make_vec_env("Pendulum-v1", 2)
    card = count_energy(model, env, episodes=3, seed=1)
    assert card.decisions == 600
    assert card.layers[2].synops == pytest.approx(card.layers[1].rate * 4 * 16 * 16)
    assert count_energy(model.policy, env, episodes=3, seed=1) == card
    assert count_energy(model, env, steps=5).decisions == 5  # one episode is asked for
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.policy.modules())
    rate = card.layers[1].rate
    assert rate is not None
    assert f"{rate:.3f}" in str(card)
    assert card.to_dict()["layers"][1]["rate"] == rate
    assert card.to_dict()["energy_ratio"] == card.energy_ratio
    assert (card.e_mac, card.e_ac) == (E_MAC, E_AC)


@pytest.mark.parametrize("decoder", ["adaptive", "lateral"])
def test_policies_with_a_state_are_counted_once_a_decision(decoder: str) -> None:
    env = gymnasium.make("Pendulum-v1")
    small = {"net_arch": [8], "decoder": decoder}
    for model in (
        RecurrentPPO("SpikingRecurrentPolicy", env, policy_kwargs=small),
        PPO("SpikingPolicy", env, policy_kwargs={**small, "stateful": True}),
    ):
        card = count_energy(model, env, steps=20, seed=0)
        assert card.decisions == 20
        assert layer_costs(card)["layer 0"] == (4 * 3 * 8, 0)


class Pictures(gymnasium.Env):
    observation_space = spaces.Box(0, 255, (36, 36, 1), np.uint8)
    action_space = spaces.Discrete(3)

    def reset(self, **kwargs):
        super().reset(**kwargs)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


@pytest.mark.parametrize("algorithm", [PPO, DQN])
def test_convolutions_count_on_both_sides(algorithm: type) -> None:
    buffer = {"buffer_size": 10} if algorithm is DQN else {"n_steps": 8}
    model = algorithm("SpikingCnnPolicy", Pictures(), policy_kwargs={"net_arch": [16]}, **buffer)
    card = count_energy(model, Pictures(), steps=2)
    # NatureCNN: 8 x 8 stride 4, 4 x 4 stride 2, 3 x 3 stride 1, then 512 features of 64.
    convolutions = 8 * 8 * 32 * 64 + 3 * 3 * 64 * 32 * 16 + 64 * 64 * 9 + 64 * 512
    assert layer_costs(card)["features"] == (convolutions, 0)
    assert card.ann_macs == convolutions + 512 * 16 + 16 * 3


def logged(tmp_path, callback: EnergyCallback, algorithm: str = "PPO", normalized: bool = False):
    env = make_vec_env("Pendulum-v1", 2, seed=0)
    env = VecNormalize(env) if normalized else env
    small = {"policy_kwargs": {"net_arch": [8, 8]}, "seed": 0}
    if algorithm == "PPO":
        model = PPO("SpikingPolicy", env, n_steps=32, batch_size=32, n_epochs=1, **small)
    else:
        model = TD3("SpikingPolicy", env, learning_starts=24, batch_size=8, train_freq=1, **small)
    model.set_logger(Logger(str(tmp_path), [make_output_format("csv", str(tmp_path))]))
    model.learn(80, callback=callback)
    assert not any(m._forward_hooks for m in model.policy.modules())
    return (tmp_path / "progress.csv").read_text(), model


TAGS = ("spike/rate_layer_0", "spike/rate_layer_1", "spike/synops", "spike/macs", "spike/energy_pj", "spike/energy_ratio")


@pytest.mark.parametrize("algorithm", ["PPO", "TD3"])
@pytest.mark.parametrize("evaluates", [False, True])
def test_callback_logs(tmp_path, algorithm: str, evaluates: bool) -> None:
    env = gymnasium.wrappers.TimeLimit(gymnasium.make("Pendulum-v1").unwrapped, 10) if evaluates else None
    callback = EnergyCallback(env, freq=20, steps=5)
    text, _ = logged(tmp_path, callback, algorithm)
    head = text.splitlines()[0]
    assert all(tag in head for tag in (*TAGS, "spike/silent_layer_0", "spike/in_window_layer_1"))
    assert callback.card is not None
    assert callback.card.decisions == (10 if evaluates else 2 * 5)


def test_counting_the_training_itself_changes_nothing(tmp_path) -> None:
    _, watched = logged(tmp_path, EnergyCallback(freq=10), "TD3")
    _, alone = logged(tmp_path, EnergyCallback(freq=1000, steps=1), "TD3")
    for a, b in zip(watched.policy.parameters(), alone.policy.parameters(), strict=True):
        assert torch.equal(a, b)


def test_callback_shares_normalization(tmp_path) -> None:
    env = VecNormalize(make_vec_env("Pendulum-v1", 1), training=False)
    _, model = logged(tmp_path, EnergyCallback(env, freq=20), normalized=True)
    assert env.obs_rms.count > 10
    with pytest.raises(ValueError, match="Wrap eval_env in VecNormalize"):
        model.learn(64, callback=EnergyCallback(gymnasium.make("Pendulum-v1"), freq=5))


def test_bad_input() -> None:
    model = TD3("MlpPolicy", "Pendulum-v1")
    env = gymnasium.make("Pendulum-v1")
    with pytest.raises(ValueError, match="TD3Policy has no spiking network"):
        count_energy(model, env)
    with pytest.raises(ValueError, match="has no spiking network"):
        model.learn(1, callback=EnergyCallback(env))
    with pytest.raises(ValueError, match="freq=0 must be at least 1"):
        EnergyCallback(freq=0)
    with pytest.raises(ValueError, match="episodes=0 must be at least 1"):
        next(play(model, env, episodes=0))
