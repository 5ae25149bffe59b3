import numpy as np
import pytest
import torch

from policies.equations.neurons import CurrentLIF, CurrentLIFState, current_lif, spike_trace

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
