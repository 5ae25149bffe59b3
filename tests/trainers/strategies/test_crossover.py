import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.strategies.crossover import OPERATORS

SIZE = 6
PROBABILITIES = st.lists(st.integers(1, 999), min_size=SIZE, max_size=SIZE).map(lambda x: np.float32(x) / 1000)
COMPILED = {name: jax.jit(operator) for name, operator in OPERATORS.items()}


@pytest.mark.parametrize("name", OPERATORS)
@settings(max_examples=25, deadline=None)
@given(PROBABILITIES, PROBABILITIES, st.integers(0, 2**31))
def test_children_lie_between_their_parents(name: str, a: np.ndarray, b: np.ndarray, seed: int) -> None:
    child = np.asarray(COMPILED[name](jax.random.key(seed), a, b))
    assert child.shape == a.shape
    assert (child >= 0).all()
    assert (child <= 1).all()
    if name == "samples":
        np.testing.assert_array_equal(child * 32, np.round(child * 32))
        return
    assert (child >= np.minimum(a, b) - 1e-6).all()
    assert (child <= np.maximum(a, b) + 1e-6).all()
    np.testing.assert_allclose(COMPILED[name](jax.random.key(seed), a, a), a, atol=1e-6)
    if name == "mean":
        np.testing.assert_allclose(child, (a.astype(float) + b) / 2, atol=1e-7)
    if name == "random_pick":
        assert ((child == a) | (child == b)).all()


def test_one_alpha_mixes_all_entries() -> None:
    a, b = jnp.linspace(0.1, 0.6, 50), jnp.linspace(0.9, 0.2, 50)
    alphas = []
    for seed in range(5):
        child = COMPILED["arithmetic"](jax.random.key(seed), a, b)
        alpha = np.asarray((child - b) / (a - b))[np.abs(a - b) > 0.05]
        np.testing.assert_allclose(alpha, alpha[0], atol=1e-4)
        odds = [np.log(p / (1 - p)) for p in (np.asarray(COMPILED["logits"](jax.random.key(seed), a, b)), a, b)]
        np.testing.assert_allclose(odds[0], alpha[0] * odds[1] + (1 - alpha[0]) * odds[2], atol=1e-4)
        alphas.append(alpha[0])
    assert np.ptp(alphas) > 0.2


def test_a_fair_coin_picks_and_samples_have_the_parents_mean() -> None:
    a, b = jnp.full(20000, 0.9), jnp.full(20000, 0.2)
    picked = np.asarray(COMPILED["random_pick"](jax.random.key(0), a, b))
    assert (picked == a).mean() == pytest.approx(0.5, abs=0.02)
    sampled = np.asarray(COMPILED["samples"](jax.random.key(0), a, b))
    assert sampled.mean() == pytest.approx(0.55, abs=0.003)
    assert sampled.var() == pytest.approx(0.55 * 0.45 / 32, rel=0.05)
