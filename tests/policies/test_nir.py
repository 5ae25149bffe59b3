"""NIR files are read back by snnTorch, and by an interpreter written here from NIR's equations alone."""

import importlib
import sys
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import QRDQN, CrossQ, RecurrentPPO
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from policies.spiking import SpikingNet

nir = pytest.importorskip("nir", reason="the package nir is not installed: pip install 'spikegym[dev]'")

from policies.nir import export_nir, to_nir  # noqa: E402

T, S, A = 6, 7, 3
NEURONS = {
    "lif": {"neuron": "lif"},
    "lif with odd constants": {"neuron": "lif", "neuron_kwargs": {"tau_mem": 3.3, "v_rest": 0.2, "v_th": 0.9}},
    "lif that learns": {"neuron": "lif", "neuron_kwargs": {"learnable": True}},
    "synaptic": {"neuron": "synaptic_lif"},
    "synaptic with odd constants": {
        "neuron": "synaptic_lif",
        "neuron_kwargs": {"decay_syn": 0.37, "decay_mem": 0.81, "v_rest": -0.1},
    },
    "synaptic that learns": {"neuron": "synaptic_lif", "neuron_kwargs": {"learnable": True}},
}


def make_net(neuron="lif", reset="hard", **kwargs) -> SpikingNet:
    torch.manual_seed(0)
    neuron_kwargs = {"reset": reset, **NEURONS[neuron].get("neuron_kwargs", {})}
    net = SpikingNet(S, A, (32, 24), T, neuron=NEURONS[neuron]["neuron"], neuron_kwargs=neuron_kwargs, **kwargs).eval()
    for module in net.modules():
        for logit in getattr(module, "decay_logits", {}).values():
            logit.data += torch.randn_like(logit)
    if hasattr(net.decoder, "lateral_bias"):
        net.decoder.lateral_bias.data.normal_(0.0, 0.2)
    return net


def written(net, tmp_path, **kwargs):
    export_nir(net, tmp_path / "net.nir", **kwargs)
    return nir.read(tmp_path / "net.nir")


def currents_and_spikes(net: SpikingNet, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What enters the first layer's weights at each step, and what the last spiking layer fires."""
    layers = [layer.neurons for layer in net.layers] + ([net.decoder.neurons] if net.decoder.population else [])
    fired = []
    handle = layers[-1].register_forward_hook(lambda module, args, out: fired.append(out[0]))
    with torch.no_grad():
        currents, _ = net.encoder(x)
        net(x)
    handle.remove()
    return currents.expand(T, -1, -1).numpy(), torch.cat(fired).numpy()


def agree(ours: np.ndarray, theirs: np.ndarray) -> None:
    """The same spikes; one in ten thousand may differ, where rounding carries a potential over the threshold."""
    assert ours.shape == theirs.shape
    assert 0.02 < ours.mean() < 0.6
    assert (ours != theirs).mean() <= 1e-4


class Interpreter:
    """NIR's equations by Euler's method with step dt, in double precision, the synapse before the membrane.

    An edge that leads back towards the input brings what its node gave one step before.
    """

    def __init__(self, graph, dt: float) -> None:
        self.graph, self.dt = graph, dt
        self.depth = {name: 0 for name, node in graph.nodes.items() if isinstance(node, nir.Input)}
        for name in (queue := list(self.depth)):
            for start, end in graph.edges:
                if start == name and end not in self.depth:
                    self.depth[end] = self.depth[name] + 1
                    queue.append(end)
        self.parts = {k: Interpreter(n, dt) for k, n in graph.nodes.items() if isinstance(n, nir.NIRGraph)}
        self.state = {}
        self.given = {}

    def run(self, sequence: np.ndarray) -> np.ndarray:
        """(T, B, in) -> (T, B, out)."""
        return np.stack([self.step(x) for x in sequence])

    def step(self, x: np.ndarray) -> np.ndarray:
        now = {}
        for name in sorted(self.depth, key=self.depth.__getitem__):
            node = self.graph.nodes[name]
            if isinstance(node, nir.Input):
                now[name] = x.astype(float)
                continue
            arrived = 0.0
            for start, end in self.graph.edges:
                if end == name:
                    back = self.depth[start] >= self.depth[name]
                    arrived = arrived + (self.given.get(start, 0.0) if back else now[start])
            now[name] = self.compute(name, node, arrived)
        self.given = now
        (out,) = (now[name] for name, node in self.graph.nodes.items() if isinstance(node, nir.Output))
        return out

    def compute(self, name: str, node, x):
        match node:
            case nir.Output():
                return x
            case nir.NIRGraph():
                return self.parts[name].step(x)
            case nir.Affine():
                return x @ node.weight.T.astype(float) + node.bias
            case nir.Linear():
                return x @ node.weight.T.astype(float)
            case nir.Scale():
                return x * node.scale
            case nir.Threshold():
                return (x > node.threshold).astype(float)
            case nir.I():
                v = self.state[name] = self.state.get(name, 0.0) + self.dt * node.r * x
                return v
            case nir.LI():
                v = self.state.get(name, 0.0)
                v = self.state[name] = v + self.dt / node.tau * (node.v_leak - v + node.r * x)
                return v
            case nir.LIF():
                v = self.state.get(name, 0.0)
                v = v + self.dt / node.tau * (node.v_leak - v + node.r * x)
                self.state[name] = np.where(v > node.v_threshold, node.v_reset, v)
                return (v > node.v_threshold).astype(float)
            case nir.CubaLIF():
                i, v = self.state.get(name, (0.0, 0.0))
                i = i + self.dt / node.tau_syn * (node.w_in * x - i)
                v = v + self.dt / node.tau_mem * (node.v_leak - v + node.r * i)
                self.state[name] = i, np.where(v > node.v_threshold, node.v_reset, v)
                return (v > node.v_threshold).astype(float)
        raise AssertionError(f"{type(node).__name__} was not expected")


def outputs(graph, x: np.ndarray) -> np.ndarray:
    """Outputs (B, A) for observations (B, S), from the file alone."""
    m = graph.metadata
    encoder, core, decoder = (graph.nodes[name] for name in ("encoder", "core", "decoder"))

    def run(part, sequence):
        return Interpreter(part, float(m["dt"])).run(sequence)

    coded = run(encoder, x[None])
    steps = int(m["n_timesteps"])
    once = encoder.metadata["runs"] == "once per observation"
    currents = coded[0].reshape(len(x), steps, -1).swapaxes(0, 1) if once else np.repeat(coded, steps, 0)
    spikes = run(core, currents)
    if decoder.metadata["runs"] == "once after the last step":
        return run(decoder, spikes.swapaxes(0, 1).reshape(1, len(x), -1))[0]
    y = run(decoder, spikes)
    return {"last": y[-1], "mean": y.mean(0), "max": y.max(0)}[decoder.metadata["read"]]


@pytest.mark.parametrize("decoder", ["adaptive", "population"])
@pytest.mark.parametrize("neuron", NEURONS)
def test_snntorch_fires_the_same_spikes(neuron: str, decoder: str, tmp_path) -> None:
    pytest.importorskip("snntorch", reason="snntorch is not installed: pip install 'spikegym[dev]'")
    pytest.importorskip("nirtorch", reason="nirtorch, which snntorch reads NIR with, is not installed")
    from snntorch.import_nir import import_from_nir

    net = make_net(neuron, decoder=decoder)
    currents, spikes = currents_and_spikes(net, torch.randn(200, S))
    theirs = import_from_nir(written(net, tmp_path).nodes["core"])
    fired, state = [], None
    with torch.no_grad():
        for current in torch.from_numpy(currents):
            s, state = theirs(current, state)
            fired.append(s)
    agree(spikes, torch.stack(fired).numpy())


def test_snntorch_loads_a_net_that_is_one_graph(tmp_path) -> None:
    pytest.importorskip("snntorch", reason="snntorch is not installed: pip install 'spikegym[dev]'")
    pytest.importorskip("nirtorch", reason="nirtorch, which snntorch reads NIR with, is not installed")
    from snntorch.import_nir import import_from_nir

    net = make_net(encoder="direct", decoder="rate")
    theirs = import_from_nir(to_nir(net))
    x, state, y = torch.randn(50, S), None, 0.0
    with torch.no_grad():
        for _ in range(T):
            step, state = theirs(x, state)
            y = y + step / T
        torch.testing.assert_close(y, net(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("reset", ["hard", "soft", "none"])
@pytest.mark.parametrize("decoder", ["adaptive", "lateral"])
@pytest.mark.parametrize("neuron", NEURONS)
def test_nir_equations_fire_the_same_spikes(neuron: str, decoder: str, reset: str, tmp_path) -> None:
    net = make_net(neuron, reset, decoder=decoder)
    currents, spikes = currents_and_spikes(net, torch.randn(200, S))
    core = written(net, tmp_path, dt=1e-3).nodes["core"]
    agree(spikes, Interpreter(core, 1e-3).run(currents))


@pytest.mark.parametrize(("encoder", "encoder_kwargs"), [("adaptive", {}), ("adaptive", {"time_only": True}), ("direct", {})])
@pytest.mark.parametrize(
    ("decoder", "decoder_kwargs"),
    [
        ("adaptive", {}),
        ("rate", {}),
        ("membrane", {"read": "last"}),
        ("membrane", {"read": "max", "decay": 0.0}),
        ("membrane", {"read": "mean", "decay": 1.0}),
        ("population", {"n_pop": 4}),
        ("lateral", {"n_pop": 4}),
        ("lateral", {"n_pop": 4, "decay": 0.9}),
    ],
)
def test_the_file_alone_gives_the_same_outputs(encoder, encoder_kwargs, decoder, decoder_kwargs, tmp_path) -> None:
    net = make_net(encoder=encoder, decoder=decoder, encoder_kwargs=encoder_kwargs, decoder_kwargs=decoder_kwargs)
    x = torch.randn(100, S)
    with torch.no_grad():
        np.testing.assert_allclose(outputs(written(net, tmp_path), x.numpy()), net(x).numpy(), rtol=0, atol=1e-5)


def test_edges_join_only_parts_that_run_step_by_step() -> None:
    def joined(**kwargs) -> list[bool]:
        graph = to_nir(make_net(**kwargs))
        return [pair in graph.edges for pair in pairwise(("input", "encoder", "core", "decoder", "output"))]

    assert joined() == [True, False, False, True]
    assert joined(encoder="direct") == [True, True, False, True]
    assert joined(encoder="direct", decoder="membrane") == [True] * 4


def test_constants_are_in_seconds_and_counted_from_rest() -> None:
    node = to_nir(make_net("lif with odd constants"), dt=2e-3).nodes["core"].nodes["neurons_0"]
    np.testing.assert_allclose(node.tau, 3.3 * 2e-3)
    np.testing.assert_allclose(node.r, 3.3)
    np.testing.assert_allclose(node.v_threshold, 0.7)
    assert not node.v_leak.any()
    assert not node.v_reset.any()
    node = to_nir(make_net("synaptic"), dt=2e-3).nodes["core"].nodes["neurons_0"]
    np.testing.assert_allclose([node.tau_syn[0], node.tau_mem[0], node.r[0], node.w_in[0]], [4e-3, 8e-3, 4.0, 2.0])


def test_the_core_can_be_exported_alone(tmp_path) -> None:
    net = make_net(encoder="population", decoder="rate")
    graph = written(net, tmp_path, coders=False)
    assert {"weights_0", "neurons_0", "weights_1", "neurons_1"} <= set(graph.nodes)
    assert graph.metadata["encoder"] == "population"
    currents, spikes = currents_and_spikes(net, torch.randn(100, S))
    agree(spikes, Interpreter(graph, 1e-4).run(currents))


class Room(gym.Env):
    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


BOX = spaces.Box(-1.0, 1.0, (S,))
ARM = spaces.Box(-2.0, 3.0, (A,))


def make_model(algorithm, observation_space=BOX, action_space=ARM, policy="SpikingPolicy", **kwargs):
    kwargs = {"net_arch": [16], "n_timesteps": T, **kwargs}
    return algorithm(policy, Room(observation_space, action_space), policy_kwargs=kwargs, seed=0, device="cpu")


def squashed(y: np.ndarray) -> np.ndarray:
    return ARM.low + (np.tanh(y[:, :A]) + 1.0) / 2.0 * (ARM.high - ARM.low)


def clipped(y: np.ndarray) -> np.ndarray:
    return np.clip(y, ARM.low, ARM.high)


@pytest.mark.parametrize(
    ("algorithm", "action_space", "told", "action"),
    [
        (PPO, ARM, "the first 3 outputs, clipped to [low, high]", clipped),
        (PPO, spaces.Discrete(4), "the index of the largest output", lambda y: y.argmax(1)),
        (SAC, ARM, "tanh of the first 3 outputs, scaled from [-1, 1] to [low, high]", squashed),
        (TD3, ARM, "tanh of the first 3 outputs, scaled from [-1, 1] to [low, high]", squashed),
        (CrossQ, ARM, "tanh of the first 3 outputs, scaled from [-1, 1] to [low, high]", squashed),
        (DQN, spaces.Discrete(4), "the index of the largest output", lambda y: y.argmax(1)),
        (
            QRDQN,
            spaces.Discrete(4),
            "outputs as 200 rows of 4; the index of the largest mean of a column",
            lambda y: y.reshape(-1, 200, 4).mean(1).argmax(1),
        ),
        (
            PPO,
            spaces.MultiDiscrete([2, 3]),
            "outputs in groups of 2, 3; in each group the index of the largest",
            lambda y: np.stack([y[:, :2].argmax(1), y[:, 2:].argmax(1)], 1),
        ),
        (PPO, spaces.MultiBinary(4), "1 where an output is positive, else 0", lambda y: (y > 0).astype(int)),
    ],
)
def test_the_file_says_how_to_act(algorithm, action_space, told: str, action, tmp_path) -> None:
    model = make_model(algorithm, action_space=action_space)
    if algorithm is CrossQ:  # statistics as after training
        norm = model.policy.actor.latent_pi[0]
        norm.ra_mean.normal_()
        norm.ra_var.uniform_(0.5, 2.0)
    graph = written(model, tmp_path)
    assert graph.metadata["action"] == told
    obs = np.random.default_rng(0).uniform(-1, 1, (64, S)).astype(np.float32)
    expected, _ = model.predict(obs, deterministic=True)
    np.testing.assert_allclose(action(outputs(graph, obs)), expected, atol=1e-4)


def test_metadata_of_a_policy(tmp_path) -> None:
    env = VecNormalize(DummyVecEnv([lambda: Room(BOX, ARM)]), clip_obs=3.0)
    env.obs_rms.mean[:] = np.arange(S)
    model = PPO("SpikingPolicy", env, policy_kwargs={"net_arch": [16], "n_timesteps": T, "stateful": True}, device="cpu")
    told = written(model, tmp_path).metadata
    expected = {"dt": 1e-4, "n_timesteps": T, "encoder": "adaptive", "decoder": "adaptive", "neuron": "lif", "reset": "hard"}
    expected |= {"stateful": True, "preprocessing": "flatten"}
    assert {name: told[name] for name in expected} == expected
    np.testing.assert_array_equal(told["normalisation"]["mean"], np.arange(S))
    assert told["normalisation"]["clip"] == 3.0
    np.testing.assert_array_equal(told["action_space"]["high"], ARM.high)
    assert told["observation_space"]["space"] == str(BOX)
    assert "normalisation" not in to_nir(model.policy).metadata


def test_recurrent_and_one_hot_policies() -> None:
    model = make_model(RecurrentPPO, spaces.Discrete(5), policy="SpikingRecurrentPolicy")
    told = to_nir(model)
    assert told.metadata["stateful"]
    assert told.metadata["preprocessing"] == "one-hot"
    assert told.nodes["input"].input_type["input"] == [5]


@pytest.mark.parametrize("dt", [0.0, -1e-4, float("inf"), float("nan")])
def test_a_step_must_have_a_length(dt: float) -> None:
    with pytest.raises(ValueError, match="must be a positive number of seconds"):
        to_nir(make_net(), dt=dt)


@pytest.mark.parametrize(
    ("kwargs", "told"),
    [
        ({"neuron": "alif"}, "cannot say a neuron 'alif'; train with neuron='lif' or 'synaptic_lif'"),
        ({"neuron_kwargs": {"refractory": 2}}, "cannot say refractory steps; train with refractory=0"),
        ({"neuron": "synaptic_lif", "neuron_kwargs": {"decay_mem": 1.0}}, r"decay_mem of 1.0 .* must be in \[0, 1\)"),
        ({"encoder": "population"}, "cannot say the encoder 'population'; .* coders=False"),
        ({"encoder": "rate"}, "cannot say the encoder 'rate'; .* coders=False"),
        ({"encoder": "latency"}, "cannot say the encoder 'latency'; .* coders=False"),
    ],
)
def test_what_nir_cannot_say_is_refused(kwargs, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        to_nir(SpikingNet(S, A, (8,), T, **kwargs))


def test_other_features_are_refused() -> None:
    images = spaces.Box(0, 255, (36, 36, 3), np.uint8)
    model = make_model(PPO, images, policy="SpikingCnnPolicy")
    with pytest.raises(ValueError, match=r"features extractor NatureCNN; .*acting_net\(policy\)"):
        to_nir(model)


def test_only_spiking_networks_are_exported() -> None:
    model = PPO("MlpPolicy", Room(BOX, ARM), device="cpu")
    with pytest.raises(TypeError, match="not ActorCriticPolicy"):
        to_nir(model)


def test_without_nir_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "nir", None)
    monkeypatch.delitem(sys.modules, "policies.nir")
    with pytest.raises(ImportError, match=r"pip install 'spikegym\[nir\]'"):
        importlib.import_module("policies.nir")
