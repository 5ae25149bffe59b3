import numpy as np
import pytest
import torch

from policies.equations.neurons import (
    ALIF,
    LIF,
    RESETS,
    AdLIF,
    AdLIFState,
    ALIFState,
    CurrentLIF,
    CurrentLIFState,
    SynapticLIF,
    SynapticLIFState,
    ThresholdALIF,
    ThresholdALIFState,
    alif,
    current_lif,
    leaky_integrator,
    lif,
    se_adlif,
    spike_trace,
    synaptic_lif,
    threshold_alif,
)

CONSTANTS = CurrentLIF()


def _heaviside(x):
    return (x > 0).astype(x.dtype)


def test_membrane_under_constant_current_follows_the_closed_form() -> None:
    """v_k = c (1 - a^k) until the first spike, which comes at the smallest k with c (1 - a^k) > 1; never for c <= 1."""
    a = np.exp(-0.5 / 10)
    c = np.array([0.5, 1.0, 1.3, 2.0, 5.0])
    state, first = CurrentLIFState(np.zeros(5), np.zeros(5)), np.full(5, -1)
    for k in range(1, 120):
        state, s = current_lif(state, np.zeros(5), c, CONSTANTS, _heaviside)
        waiting = first < 0
        first[waiting & (s > 0)] = k
        quiet = first < 0
        np.testing.assert_allclose(state.v[quiet], c[quiet] * (1 - a**k), rtol=1e-9)
    assert (first[:2] == -1).all()
    for current, k in zip(c[2:], first[2:], strict=True):
        assert current * (1 - a**k) > 1 >= current * (1 - a ** (k - 1))


def test_synapse_and_trace_decay_as_exponentials() -> None:
    state = CurrentLIFState(np.zeros(1), np.zeros(1))
    state, _ = current_lif(state, np.array([0.3]), np.zeros(1), CONSTANTS, _heaviside)
    assert state.i_syn[0] == pytest.approx(0.3)
    for _ in range(10):
        state, _ = current_lif(state, np.zeros(1), np.zeros(1), CONSTANTS, _heaviside)
    assert state.i_syn[0] == pytest.approx(0.3 * np.exp(-10 * 0.5 / 5))
    trace = spike_trace(np.zeros(1), np.ones(1), CONSTANTS)
    assert trace[0] == pytest.approx((1 - np.exp(-0.5 / 10)) / 0.5)


def test_torch_and_jax_fire_alike() -> None:
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    weights = rng.normal(size=(64, 64)).astype(np.float32) * 0.25
    inputs = (1.2 + rng.normal(size=(300, 64))).astype(np.float32)
    runs = {
        "torch": (torch.as_tensor, lambda x: (x > 0).to(x.dtype)),
        "jax": (jnp.asarray, lambda x: (x > 0).astype(x.dtype)),
    }
    spikes = {}
    for engine, (array, spike) in runs.items():
        state = CurrentLIFState(array(np.zeros(64, np.float32)), array(np.zeros(64, np.float32)))
        s, w, out = array(np.zeros(64, np.float32)), array(weights), []
        for x in inputs:
            state, s = current_lif(state, s @ w, array(x), CONSTANTS, spike)
            out.append(np.asarray(s))
        spikes[engine] = np.array(out)
    assert spikes["torch"].sum() > 100
    np.testing.assert_array_equal(spikes["torch"], spikes["jax"])


@pytest.mark.parametrize("reset", RESETS)
def test_lif_steps_as_the_papers_formula(reset: str) -> None:
    rng = np.random.default_rng(0)
    v, mine = np.full(8, 0.2), np.full(8, 0.2)
    for x in rng.normal(1.5, 1.0, (50, 8)):
        v, s = lif(v, x, LIF(tau_mem=3.0, v_rest=0.2, v_th=1.1), _heaviside, RESETS[reset])
        for i in range(8):
            mine[i] += (x[i] - (mine[i] - 0.2)) / 3.0
            fired = mine[i] > 1.1
            assert s[i] == fired
            if fired:
                mine[i] = {"hard": 0.2, "soft": mine[i] - 0.9, "none": mine[i]}[reset]
        np.testing.assert_allclose(v, mine, atol=1e-12)


def test_popsan_neuron_resets_before_the_next_step() -> None:
    """As published: v_t = 0.75 v_(t-1) (1 - o_(t-1)) + c_t, c_t = 0.5 c_(t-1) + x_t, o_t = v_t > 0.5."""
    state, c, v, o = SynapticLIFState(np.zeros(5), np.zeros(5)), np.zeros(5), np.zeros(5), np.zeros(5)
    fired = 0.0
    for x in np.random.default_rng(1).normal(0.2, 0.4, (60, 5)):
        state, s = synaptic_lif(state, x, SynapticLIF(), _heaviside, RESETS["hard"])
        c = 0.5 * c + x
        v = 0.75 * v * (1 - o) + c
        o = (v > 0.5).astype(float)
        np.testing.assert_array_equal(s, o)
        fired += o.sum()
    assert 20 < fired < 250


def test_adaptation_slows_firing_under_constant_current() -> None:
    """Intervals between spikes grow towards a limit; without adaptation they are equal."""
    intervals = {}
    for beta in (0.0, 20.0):
        state, times = ALIFState(np.zeros(1), np.zeros(1)), []
        for t in range(600):
            c = ALIF(tau_mem=10.0, tau_adapt=100.0, beta=beta)
            state, s = alif(state, np.full(1, 3.0), c, _heaviside, RESETS["soft"])
            if s[0]:
                times.append(t)
        intervals[beta] = np.diff(times)
    assert set(intervals[0.0]) <= {int(intervals[0.0][0]), int(intervals[0.0][0]) + 1}
    assert intervals[20.0][-1] > 2 * intervals[20.0][0]


def test_integrator_sums_a_geometric_series() -> None:
    v = np.zeros(1)
    for _ in range(20):
        v = leaky_integrator(v, np.ones(1), 0.8)
    assert v[0] == pytest.approx((1 - 0.8**20) / (1 - 0.8))


@pytest.mark.parametrize("neuron", ["lif", "synaptic_lif", "alif"])
def test_torch_layers_and_jax_fire_alike(neuron: str) -> None:
    import jax.numpy as jnp

    from policies.neurons import NEURONS, Neurons

    mean = 3.0 if neuron == "alif" else 0.6
    currents = np.random.default_rng(2).normal(mean, 1.0, (200, 4, 32)).astype(np.float32)
    zeros = jnp.zeros((4, 32))
    step = {"lif": lif, "synaptic_lif": synaptic_lif, "alif": alif}[neuron]
    state = {"lif": zeros, "synaptic_lif": SynapticLIFState(zeros, zeros), "alif": ALIFState(zeros, zeros)}[neuron]
    constants = NEURONS[neuron]()
    expected = []
    for x in currents:
        state, s = step(state, jnp.asarray(x), constants, _heaviside, RESETS["hard"])
        expected.append(np.asarray(s))
    spikes, _ = Neurons(32, neuron)(torch.as_tensor(currents))
    assert 0.01 < spikes.mean() < 0.9
    np.testing.assert_array_equal(spikes.numpy(), expected)


def test_threshold_alif_against_a_loop_over_steps() -> None:
    """The released code's order: adaptation by the last spikes, then the potential with the reset, then the threshold."""
    c = ThresholdALIF(tau_mem=4.0, tau_adapt=7.0, beta=1.8, v_th=0.1)
    rng = np.random.default_rng(0)
    state, b, u, z, fired = ThresholdALIFState(np.zeros(5), np.zeros(5), np.zeros(5)), np.zeros(5), np.zeros(5), np.zeros(5), 0
    for _ in range(40):
        current = rng.uniform(0, 2, 5)
        state, s = threshold_alif(state, current, c, _heaviside)
        for i in range(5):
            b[i] = np.exp(-1 / 7) * b[i] + (1 - np.exp(-1 / 7)) * z[i]
            u[i] = np.exp(-1 / 4) * u[i] + (1 - np.exp(-1 / 4)) * current[i] - (0.1 + 1.8 * b[i]) * z[i]
            z[i] = float(u[i] > 0.1 + 1.8 * b[i])
        np.testing.assert_array_equal(s, z)
        np.testing.assert_allclose(state.v, u, rtol=1e-12, atol=1e-12)
        fired += int(z.sum())
    assert 0 < fired < 200


def test_se_adlif_below_threshold_oscillates_and_decays() -> None:
    """Without spikes it is linear: its matrix has the eigenvalues of (v, w) -> (v', w'), of magnitude sqrt(alpha rho) when
    they are complex, whatever the coupling."""
    c = AdLIF(tau_mem=10.0, tau_adapt=50.0, a=60.0, b=0.0, v_th=np.inf)
    alpha, rho = c.decay_mem, c.decay_adapt
    matrix = np.array([[alpha, -(1 - alpha)], [(1 - rho) * c.a * alpha, rho - (1 - rho) * c.a * (1 - alpha)]])
    values = np.linalg.eigvals(matrix)
    assert abs(values[0].imag) > 0
    np.testing.assert_allclose(np.abs(values), np.sqrt(alpha * rho))
    state, expected = AdLIFState(np.ones(1), np.ones(1)), np.ones(2)
    for _ in range(30):
        state, s = se_adlif(state, np.zeros(1), c, _heaviside)
        expected = matrix @ expected
        assert not s.any()
        np.testing.assert_allclose([state.v[0], state.w[0]], expected, rtol=1e-9, atol=1e-12)
