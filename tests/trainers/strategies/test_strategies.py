import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.extend.random import threefry_2x32

from policies.population.synapses import bit_planes, unpack
from trainers.strategies import (
    EvolutionStrategy,
    EvolvingConnectivity,
    centred_ranks,
    doubled_centred_ranks,
    standardized_ranks,
)
from trainers.strategies.bits import bernoulli_words, normal_pairs, threefry2x32

KERNELS = {"a": jax.ShapeDtypeStruct((40, 3), bool), "b": jax.ShapeDtypeStruct((5, 2), bool)}


def _masks(words: dict) -> dict[str, np.ndarray]:
    """Boolean kernels (P, K, M) of a packed population."""
    return {n: np.asarray(jax.vmap(lambda w, n=n: unpack(w, KERNELS[n].shape[0]))(words[n])) for n in KERNELS}


# Ranks


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.one_of(st.integers(-3, 3).map(float), st.just(float("nan")), st.just(float("inf"))), min_size=2, max_size=12)
)
def test_ranks_are_average_ranks_with_the_invalid_worst(values: list[float]) -> None:
    from scipy.stats import rankdata

    clean = np.where(np.isfinite(values), values, -np.inf)
    expected = 2 * (rankdata(clean, method="average") - 1) - (len(values) - 1)
    ranks = doubled_centred_ranks(jnp.asarray(values, jnp.float32))
    np.testing.assert_array_equal(ranks, expected)
    assert int(ranks.sum()) == 0


def test_ranks_by_hand() -> None:
    np.testing.assert_allclose(centred_ranks(jnp.array([3.0, 1.0, jnp.nan, 1.0, 9.0])), [0.25, -0.125, -0.5, -0.125, 0.5])


@pytest.mark.parametrize("fitness", [[3.0, 1.0, 7.0, 2.0], [1.0, 5.0, 5.0, -2.0, 5.0, 0.0], [0.0, np.nan]])
def test_standardized_ranks_have_unit_deviation(fitness: list[float]) -> None:
    from scipy.stats import rankdata

    ranks = rankdata(np.nan_to_num(fitness, nan=-np.inf))
    expected = (ranks - ranks.mean()) / ranks.std()
    np.testing.assert_allclose(standardized_ranks(jnp.asarray(fitness)), expected, rtol=1e-6)


def test_standardized_ranks_of_many_span_what_is_published_and_of_equals_nothing() -> None:
    """For 200 members the weights lie within +-1.723."""
    ranks = standardized_ranks(jax.random.normal(jax.random.key(0), (200,)))
    assert float(ranks.max()) == pytest.approx(1.7234, abs=1e-4) == -float(ranks.min())
    np.testing.assert_array_equal(standardized_ranks(jnp.full(6, 3.0)), np.zeros(6))


# Random bits


def test_the_cipher_is_jaxs() -> None:
    key, counters = jnp.array([123, 456], jnp.uint32), jnp.arange(64, dtype=jnp.uint32)
    expected = threefry_2x32(key, counters)
    np.testing.assert_array_equal(jnp.concatenate(threefry2x32(key, counters[:32], counters[32:], rounds=20)), expected)


def test_the_short_cipher_gives_its_published_answers() -> None:
    """Known answers for 13 rounds, as distributed with Random123."""
    zeros, ones = jnp.zeros(2, jnp.uint32), jnp.full(2, 0xFFFFFFFF, jnp.uint32)
    assert [int(x) for x in threefry2x32(zeros, zeros[0], zeros[1])] == [0x9D1C5EC6, 0x8BD50731]
    assert [int(x) for x in threefry2x32(ones, ones[0], ones[1])] == [0xFD36D048, 0x2D17272C]


def test_bits_have_their_probabilities_and_the_twin_is_opposite() -> None:
    probabilities = jnp.array([0.0, 0.001, 0.25, 0.5, 0.999, 1.0])
    rows = jnp.zeros((32, 20000), jnp.int32).at[:6].set((probabilities * 65536).round().astype(jnp.int32)[:, None])
    thresholds = bit_planes(rows)[:, 0]
    draw = np.asarray(unpack(bernoulli_words(jax.random.key(0), thresholds)[None, :], 32))
    twin = np.asarray(unpack(bernoulli_words(jax.random.key(0), thresholds, True)[None, :], 32))
    np.testing.assert_allclose(draw[:6].mean(axis=1), probabilities, atol=0.012)
    np.testing.assert_allclose(twin[:6].mean(axis=1), probabilities, atol=0.012)
    assert not draw[6:].any()
    assert not (draw[3] & twin[3]).any()  # at one half exactly one of the two connects
    assert not (draw[2] & twin[2]).any()
    assert abs(np.corrcoef(draw[3, :-1], draw[3, 1:])[0, 1]) < 0.03


# EC


def _ec(population: int = 64, **kwargs):
    strategy = EvolvingConnectivity(population, **kwargs)
    return strategy, strategy.init(jax.random.key(0), KERNELS)


@pytest.mark.parametrize("antithetic", [False, True])
def test_a_member_depends_on_its_index_alone(antithetic: bool) -> None:
    strategy, state = _ec(antithetic=antithetic)
    key = jax.random.key(5)
    everyone = strategy.sample(state, key, jnp.arange(64))
    some = strategy.sample(state, key, jnp.array([63, 2, 17]))
    for n in KERNELS:
        np.testing.assert_array_equal(some[n], everyone[n][jnp.array([63, 2, 17])])
    assert len({m.tobytes() for m in _masks(everyone)["a"]}) == 64


@pytest.mark.parametrize("antithetic", [False, True])
def test_ec_gradient_is_the_rank_weighted_sum_of_its_masks(antithetic: bool) -> None:
    """One step of plain gradient descent against a NumPy sum over unpacked masks."""
    strategy, state = _ec(50 if antithetic else 51, optimizer="sgd", eps=0.01, antithetic=antithetic)
    rho = {
        n: jax.random.uniform(jax.random.key(i), k.shape, minval=0.2, maxval=0.8) for i, (n, k) in enumerate(KERNELS.items())
    }
    state = state._replace(rho=rho, learning_rate=jnp.float32(0.7))
    size = strategy.population_size
    key, fitness = jax.random.key(9), jax.random.normal(jax.random.key(3), (size,))
    masks = _masks(strategy.sample(state, key, jnp.arange(size)))
    after, _ = jax.jit(strategy.update)(state, key, fitness)
    weights = np.asarray(centred_ranks(fitness))
    for n in KERNELS:
        step = 0.7 / size * np.tensordot(weights, masks[n] - np.asarray(rho[n])[None], axes=1)
        np.testing.assert_allclose(after.rho[n], np.clip(rho[n] + step, 0.01, 0.99), atol=2e-6)


def test_ec_ascends_the_analytic_natural_gradient_of_a_linear_fitness() -> None:
    """E[F (theta - rho)] = c rho (1 - rho) for F = c . theta; ranks only rescale it, so the directions agree."""
    strategy = EvolvingConnectivity(4096, optimizer="sgd")
    c = jax.random.normal(jax.random.key(1), (12, 1))
    rho = {"k": jax.random.uniform(jax.random.key(2), (12, 1), minval=0.2, maxval=0.8)}
    state = strategy.init(jax.random.key(0), {"k": jax.ShapeDtypeStruct((12, 1), bool)})
    state, total = state._replace(rho=rho, learning_rate=jnp.float32(1.0)), 0.0
    for trial in range(8):
        key = jax.random.key(trial)
        words = strategy.sample(state, key, jnp.arange(4096))["k"]
        theta = jax.vmap(lambda w: unpack(w, 12))(words)
        fitness = jnp.einsum("pkm,km->p", theta.astype(jnp.float32), c)
        after, _ = strategy.update(state, key, fitness)
        total = total + np.asarray(after.rho["k"] - rho["k"]).ravel()
    natural = np.asarray(c * rho["k"] * (1 - rho["k"])).ravel()
    assert np.corrcoef(total, natural)[0, 1] > 0.99


def test_ec_solves_half_one_max() -> None:
    """Ones in the first half are good; the other half must not drift away from one half."""
    kernels = {"k": jax.ShapeDtypeStruct((64, 2), bool)}
    strategy = EvolvingConnectivity(256)
    state = strategy.init(jax.random.key(0), kernels)._replace(learning_rate=jnp.float32(0.15))

    @jax.jit
    def generation(state, key):
        theta = jax.vmap(lambda w: unpack(w, 64))(strategy.sample(state, key, jnp.arange(256))["k"])
        return strategy.update(state, key, theta[:, :32].sum((1, 2)).astype(jnp.float32))[0]

    for g in range(60):
        state = generation(state, jax.random.key(g))
    assert state.rho["k"][:32].mean() > 0.95
    assert abs(state.rho["k"][32:].mean() - 0.5) < 0.15
    assert unpack(strategy.mean(state)["k"], 64)[:32].all()


def test_equal_or_invalid_fitness_changes_nothing() -> None:
    strategy, state = _ec()
    state = state._replace(learning_rate=jnp.float32(0.15))
    for value in (1.0, float("nan")):
        after, metrics = strategy.update(state, jax.random.key(0), jnp.full(64, value))
        for n in KERNELS:
            np.testing.assert_array_equal(after.rho[n], state.rho[n])
        assert all(np.isfinite(x) for x in metrics.values())


def test_ec_reports_density_and_entropy_of_each_kernel() -> None:
    strategy, state = _ec()
    state = state._replace(rho={"a": jnp.full((40, 3), 0.25), "b": jnp.full((5, 2), 0.5)})
    metrics = strategy.metrics(state)
    assert metrics["density/a"] == pytest.approx(0.25)
    assert metrics["entropy/a"] == pytest.approx(-(0.25 * np.log(0.25) + 0.75 * np.log(0.75)))
    assert metrics["entropy/b"] == pytest.approx(np.log(2))


# ES


@pytest.mark.parametrize("antithetic", [False, True])
def test_es_gradient_is_the_rank_weighted_sum_of_its_noise(antithetic: bool) -> None:
    strategy = EvolutionStrategy(20, antithetic=antithetic, optimizer="sgd", weight_decay=0.3)
    params = {"w": jax.random.normal(jax.random.key(0), (3, 2)), "b": jnp.ones(2)}
    state = strategy.init(jax.random.key(0), params)._replace(learning_rate=jnp.float32(0.5), sigma=jnp.float32(0.1))
    key, fitness = jax.random.key(1), jax.random.normal(jax.random.key(2), (20,))
    members = strategy.sample(state, key, jnp.arange(20))
    after, _ = jax.jit(strategy.update)(state, key, fitness)
    weights = np.asarray(centred_ranks(fitness))
    for n, p in params.items():
        noise = (np.asarray(members[n]) - np.asarray(p)) / 0.1
        if antithetic:
            np.testing.assert_allclose(noise[::2], -noise[1::2], atol=1e-5)
        expected = p + 0.5 * np.tensordot(weights, noise, axes=1) / (20 * 0.1) - 0.5 * 0.3 * p
        np.testing.assert_allclose(after.params[n], expected, atol=1e-4)


def test_es_rounds_what_it_hands_out_and_nothing_else() -> None:
    params = {"w": jax.random.normal(jax.random.key(0), (3, 2)), "b": jnp.ones(2)}
    fitness, key = jax.random.normal(jax.random.key(2), (20,)), jax.random.key(1)

    def play(precision: str) -> tuple:
        strategy = EvolutionStrategy(20, precision=precision)
        state = strategy.init(jax.random.key(0), params)._replace(learning_rate=jnp.float32(0.5), sigma=jnp.float32(0.1))
        members = strategy.sample(state, key, jnp.arange(20))
        return members, strategy.mean(state), strategy.update(state, key, fitness)[0]

    (full, mean, after), (half, rounded, after_half) = play("float32"), play("float16")
    for n in params:
        np.testing.assert_array_equal(half[n], np.asarray(full[n]).astype(np.float16))
        np.testing.assert_array_equal(rounded[n], np.asarray(mean[n]).astype(np.float16))
        np.testing.assert_array_equal(after_half.params[n], after.params[n])


def test_es_climbs_a_sphere() -> None:
    strategy = EvolutionStrategy(64, weight_decay=0.0)
    state = strategy.init(jax.random.key(0), jnp.full(10, 3.0))
    state = state._replace(learning_rate=jnp.float32(0.1), sigma=jnp.float32(0.1))
    update = jax.jit(lambda s, k: strategy.update(s, k, -jnp.sum(strategy.sample(s, k, jnp.arange(64)) ** 2, axis=1))[0])
    for g in range(120):
        state = update(state, jax.random.key(g))
    assert float(jnp.sum(strategy.mean(state) ** 2)) < 90 / 100


@pytest.mark.parametrize("antithetic", [False, True])
def test_es_as_released_for_hebbian_rules(antithetic: bool) -> None:
    """theta + lr / (P sigma) sum_k r_k eps_k, where r are the standardised ranks of f - 0.01 mean(theta_k^2)."""
    from scipy.stats import rankdata

    strategy = EvolutionStrategy(20, antithetic, 0.0, "sgd", ranks="standardized", l2=0.01)
    params = {"w": 3 * jax.random.normal(jax.random.key(0), (3, 2)), "b": jnp.ones(2)}
    state = strategy.init(jax.random.key(0), params)._replace(learning_rate=jnp.float32(0.2), sigma=jnp.float32(0.1))
    key = jax.random.key(1)
    members = {n: np.asarray(x) for n, x in strategy.sample(state, key, jnp.arange(20)).items()}
    fitness = 0.01 * np.random.default_rng(0).normal(size=20).astype(np.float32)  # so small that the penalty decides
    squares = np.concatenate([x.reshape(20, -1) for x in members.values()], axis=1) ** 2
    ranks = rankdata(fitness - 0.01 * squares.mean(axis=1))
    assert (ranks != rankdata(fitness)).any()
    r = (ranks - ranks.mean()) / ranks.std()
    after, _ = jax.jit(strategy.update)(state, key, jnp.asarray(fitness))
    for n, p in params.items():
        noise = (members[n] - np.asarray(p)) / 0.1
        expected = p + 0.2 / (20 * 0.1) * np.tensordot(r, noise, axes=1)
        np.testing.assert_allclose(after.params[n], expected, atol=1e-4)


def test_plain_ascent_climbs_a_quadratic_and_equal_fitness_stands_still() -> None:
    strategy = EvolutionStrategy(50, weight_decay=0.0, optimizer="sgd", ranks="standardized")
    state = strategy.init(jax.random.key(0), jnp.full(10, 3.0))._replace(sigma=jnp.float32(0.1))

    @jax.jit
    def generation(state, key, learning_rate):
        state = state._replace(learning_rate=learning_rate)
        members = strategy.sample(state, key, jnp.arange(50))
        return strategy.update(state, key, -jnp.sum((members - 1.0) ** 2, axis=1))[0]

    for g in range(200):
        state = generation(state, jax.random.key(g), jnp.float32(max(0.2 * 0.98**g, 0.001)))
    assert float(jnp.sum((strategy.mean(state) - 1.0) ** 2)) < 40 / 1000
    after, _ = strategy.update(state, jax.random.key(0), jnp.full(50, 7.0))
    np.testing.assert_array_equal(after.params, state.params)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"Unknown ranks 'standardised'\. Did you mean 'standardized'"):
        EvolutionStrategy(8, ranks="standardised")
    with pytest.raises(ValueError, match=r"l2=-1 must be a number of at least 0"):
        EvolutionStrategy(8, l2=-1)
    with pytest.raises(ValueError, match="population_size=1 cannot be ranked"):
        EvolvingConnectivity(1)
    with pytest.raises(ValueError, match="is odd, but antithetic members come in pairs; use 8"):
        EvolutionStrategy(7)
    with pytest.raises(ValueError, match="Did you mean 'adam'"):
        EvolvingConnectivity(8, optimizer="adamm")
    with pytest.raises(ValueError, match="refuses optimizer_kwargs"):
        EvolutionStrategy(8, optimizer_kwargs={"beta": 1})
    with pytest.raises(ValueError, match=r"eps=0\.6 must lie"):
        EvolvingConnectivity(8, eps=0.6)


@pytest.mark.parametrize("antithetic", [False, True])
def test_es_draws_are_normal_and_depend_on_the_member_alone(antithetic: bool) -> None:
    from scipy.stats import kstest

    strategy = EvolutionStrategy(8, antithetic=antithetic)
    params = {"a": jnp.zeros((99, 51)), "b": jnp.zeros(3)}  # sizes are odd
    state = strategy.init(jax.random.key(0), params)._replace(sigma=jnp.float32(1.0))
    everyone = strategy.sample(state, jax.random.key(4), jnp.arange(8))
    some = strategy.sample(state, jax.random.key(4), jnp.array([7, 2]))
    for n in params:
        np.testing.assert_array_equal(some[n], everyone[n][jnp.array([7, 2])])
    draws = np.asarray(everyone["a"]).reshape(8, -1)[:: 2 if antithetic else 1]
    assert kstest(draws.ravel(), "norm").pvalue > 0.001
    rows = np.concatenate([draws[:, :2524], draws[:, 2524:5048]])  # halves come from one block of the cipher
    correlation = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlation).max() < 0.09
    assert np.abs(np.corrcoef(rows**2) - np.eye(len(rows))).max() < 0.09
    assert len(np.unique(np.asarray(everyone["b"]).round(6))) == 24


def test_normal_numbers_are_those_of_box_and_muller() -> None:
    t = jnp.arange(5000, dtype=jnp.uint32)
    a, b = threefry2x32(jax.random.key_data(jax.random.key(2)), t, jnp.full_like(t, 9))
    radius = np.sqrt(-2 * np.log((np.asarray(a, np.float64) + 0.5) / 2**32))
    quarter, rest = np.divmod(np.asarray(b, np.int64), 1 << 30)
    angle = (quarter + rest / 2**30 - 0.5) * np.pi / 2
    first, second = normal_pairs(jax.random.key(2), t, jnp.uint32(9))
    np.testing.assert_allclose(first, radius * np.cos(angle), atol=3e-6)
    np.testing.assert_allclose(second, radius * np.sin(angle), atol=3e-6)
