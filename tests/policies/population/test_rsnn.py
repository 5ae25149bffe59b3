"""The one-bit network against a plain NumPy version written from its definition (arXiv 2305.17650)."""

import math

import jax
import numpy as np
import pytest

from policies.population import RSNN
from policies.population.synapses import unpack


class NumpyRSNN:
    """Dense matrices, signed spikes, float64."""

    def __init__(self, network: RSNN, params: dict, v: np.ndarray) -> None:
        n, d, p0 = network.num_neurons, network.observation_size, 0.5
        exc = round(n * network.excitatory_ratio)
        dense = {name: np.asarray(unpack(params[name], k.shape[0]), float) for name, k in network.kernels.items()}
        self.kernel_in = np.concatenate([dense["in_exc"], dense["in_inh"]])  # (2D, N)
        self.kernel_h = np.concatenate([dense["h_exc"], dense["h_inh"]])  # (N, N)
        self.kernel_out = np.concatenate([dense["out_exc"], dense["out_inh"]])  # (N, A)
        self.sign = np.where(np.arange(n) < exc, 1, -1)
        self.r_in = 0.1 * 10 * math.sqrt(2 / (p0 * d))
        self.r_h = 1.0 * (10 / 5) * math.sqrt(2 / (p0 * n))
        self.r_out = 5.0 * math.sqrt(1 / (p0 * n))
        self.v, self.i_syn, self.r, self.s = v.astype(float), np.zeros(n), np.zeros(n), np.zeros(n)

    def step(self, x: np.ndarray) -> np.ndarray:
        i_in = self.r_in * (np.concatenate([x, -x]) @ self.kernel_in)
        for _ in range(33):
            self.i_syn = math.exp(-0.5 / 5) * self.i_syn + self.r_h * (self.s @ self.kernel_h)
            a = math.exp(-0.5 / 10)
            self.v = a * self.v + (1 - a) * (0.0 + self.i_syn + i_in)
            fired = self.v > 1.0
            self.v[fired] = 0.0
            self.s = np.where(fired, self.sign, 0)
            self.r = a * self.r + (1 - a) * self.s / 0.5
        return self.r_out * (self.r @ self.kernel_out)


@pytest.mark.parametrize(("d", "n", "a", "ratio"), [(11, 256, 3, 0.5), (17, 100, 6, 0.3), (240, 256, 17, 0.5)])
def test_equals_the_numpy_network_over_many_steps(d: int, n: int, a: int, ratio: float) -> None:
    network = RSNN(d, a, num_neurons=n, excitatory_ratio=ratio)
    params, carry = network.init(jax.random.key(1)), network.initial_carry(jax.random.key(2))
    reference = NumpyRSNN(network, params, np.asarray(carry.neurons.v))
    apply, rng = jax.jit(network.apply), np.random.default_rng(0)
    total = 0
    for _ in range(30):
        x = rng.normal(size=d)
        carry, y = apply(params, carry, x.astype(np.float32))
        expected = reference.step(x.astype(np.float32))
        np.testing.assert_array_equal(carry.spikes, np.abs(reference.s))
        np.testing.assert_allclose(carry.neurons.v, reference.v, atol=1e-4)
        np.testing.assert_allclose(y, expected, atol=1e-3)
        total += np.abs(reference.s).sum()
    assert total > 0, "a silent network proves nothing"


def test_a_population_equals_its_members() -> None:
    network = RSNN(11, 3)
    keys = jax.random.split(jax.random.key(0), 5)
    params, carry = jax.vmap(network.init)(keys), jax.vmap(network.initial_carry)(keys)
    obs = jax.random.normal(jax.random.key(1), (5, 11))
    together, actions = jax.jit(jax.vmap(network.apply))(params, carry, obs)
    for i in range(5):
        alone, action = network.apply(*jax.tree.map(lambda x, i=i: x[i], (params, carry)), obs[i])
        np.testing.assert_array_equal(alone.spikes, together.spikes[i])
        np.testing.assert_allclose(action, actions[i], atol=1e-5)


@pytest.mark.parametrize(
    ("d", "a", "scales", "bits"),
    [
        (11, 3, (0.60302, 0.25, 0.44194), 71936),
        (17, 6, (0.48507, 0.25, 0.44194), 75776),
        (240, 17, (0.1291, 0.25, 0.44194), 192768),
    ],
)
def test_published_scales_and_sizes(d: int, a: int, scales: tuple, bits: int) -> None:
    network = RSNN(d, a)
    assert network.scales == pytest.approx(scales, abs=1e-5)
    assert sum(math.prod(k.shape) for k in network.kernels.values()) == bits


def test_without_self_connections_a_lone_neuron_hears_nothing_of_itself() -> None:
    silent = RSNN(1, 1, num_neurons=2, self_connections=False)
    full = {name: np.full_like(words, 0xFFFFFFFF) for name, words in silent.init(jax.random.key(0)).items()}
    h_exc, h_inh = silent._without_diagonal(full["h_exc"], full["h_inh"])
    np.testing.assert_array_equal(unpack(h_exc, 1), [[False, True]])
    np.testing.assert_array_equal(unpack(h_inh, 1), [[True, False]])


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="no excitatory or no inhibitory"):
        RSNN(3, 1, excitatory_ratio=1.0)
    with pytest.raises(ValueError, match="give no substep"):
        RSNN(3, 1, dt=0.0)
