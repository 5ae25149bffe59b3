import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import rankdata

from policies.population.synapses import unpack
from trainers.strategies import EvolvingConnectivity, SignalAwareTrustRegion

SIZE = 128
KERNELS = {"k": jax.ShapeDtypeStruct((SIZE, 1), bool)}


def _masks(words: dict) -> np.ndarray:
    return np.asarray(jax.vmap(lambda w: unpack(w, SIZE))(words["k"]))[..., 0]


def _start(strategy, rate: float = 100.0):
    return strategy.init(jax.random.key(0), KERNELS)._replace(learning_rate=jnp.float32(rate))


def _rho(state) -> np.ndarray:
    return np.asarray(state.rho["k"], float)[:, 0]


def _generation(strategy):
    """(state, key) -> state after a generation in which ones in the first half are good."""

    @jax.jit
    def generation(state, key):
        theta = jax.vmap(lambda w: unpack(w, SIZE))(strategy.sample(state, key, jnp.arange(strategy.population_size))["k"])
        return strategy.update(state, key, theta[:, : SIZE // 2].sum((1, 2)).astype(jnp.float32))

    return generation


def test_the_step_is_the_derived_one() -> None:
    """Three generations with a share of luck against the equations in NumPy."""
    strategy = SignalAwareTrustRegion(40, eps=0.05, kl_max=0.02, signal_decay=0.8)
    state, rng, q = _start(strategy), np.random.default_rng(0), 0.0
    sample, update = jax.jit(strategy.sample), jax.jit(strategy.update)
    for t in range(3):
        rho, key = _rho(state), jax.random.key(t)
        theta = _masks(sample(state, key, jnp.arange(40)))
        fitness = (theta[:, :64].sum(1) + rng.normal(size=40)).astype(np.float32)
        w = (rankdata(fitness) - 1) / 39 - 0.5
        g = w @ (theta - rho) / 40
        z2 = g**2 / (rho * (1 - rho)) / ((w**2).sum() / 40**2)
        q = 0.8 * q + 0.2 * (z2.mean() - 1)
        corrected = max(q / (1 - 0.8 ** (t + 1)), 0.0)
        share = corrected / (1 + corrected)
        kl = np.mean(g**2 / (2 * rho * (1 - rho)))
        step = g * np.sqrt(0.02 * share / kl)
        limit = np.sqrt(2 * 0.02 * rho * (1 - rho))
        state, metrics = update(state, key, jnp.asarray(fitness))
        np.testing.assert_allclose(_rho(state), np.clip(rho + np.clip(step, -limit, limit), 0.05, 0.95), atol=2e-5)
        assert float(metrics["signal"]) == pytest.approx(share, rel=1e-3)
    assert 0 < share < 1
    assert (np.abs(_rho(state) - 0.5) > 0.01).any()


def test_without_signal_the_estimate_is_zero_on_average_and_with_it_what_theory_says() -> None:
    strategy = SignalAwareTrustRegion(64, signal_decay=0.0)
    state = _start(strategy)
    rho = np.linspace(0.05, 0.95, SIZE, dtype=np.float32)
    state = state._replace(rho={"k": jnp.asarray(rho[:, None])})
    luck, skill = [], []
    sample, update = jax.jit(strategy.sample), jax.jit(strategy.update)
    for t in range(150):
        key = jax.random.key(t)
        luck.append(float(update(state, key, jax.random.normal(jax.random.key(1000 + t), (64,)))[0].excess))
        theta = _masks(sample(state, key, jnp.arange(64)))
        skill.append(float(update(state, key, jnp.asarray(theta.sum(1), jnp.float32))[0].excess))
    assert abs(np.mean(luck)) < 4 * np.sqrt(2 / SIZE / 150)
    assert np.mean(skill) == pytest.approx(64 / SIZE, rel=0.15)  # all of the ranks' variance is explained: P / N


def test_every_update_stays_in_the_trust_region() -> None:
    strategy = SignalAwareTrustRegion(32, kl_max=0.05)
    state, generation = _start(strategy), _generation(strategy)
    moved = []
    for t in range(30):
        before = _rho(state)
        state, metrics = generation(state, jax.random.key(t))
        after = _rho(state)
        squares = (after - before) ** 2 / (2 * before * (1 - before))
        assert squares.max() <= 0.05 * (1 + 1e-3)
        assert squares.mean() <= 0.05 * float(metrics["signal"]) * (1 + 1e-3) + 1e-9
        exact = after * np.log(after / before) + (1 - after) * np.log((1 - after) / (1 - before))
        assert exact.max() <= 2 * 0.05
        moved.append(exact.sum())
    assert np.mean(moved) > 0.05


def test_equal_fitness_changes_nothing() -> None:
    strategy = SignalAwareTrustRegion(16)
    state = _start(strategy)
    for value in (1.0, float("nan")):
        after, metrics = strategy.update(state, jax.random.key(0), jnp.full(16, value))
        np.testing.assert_array_equal(_rho(after), _rho(state))
        assert all(np.isfinite(float(x)) for x in metrics.values())


def test_a_region_that_never_binds_is_ec() -> None:
    satr = SignalAwareTrustRegion(64, optimizer="adam", kl_max=1e9)
    ec = EvolvingConnectivity(64)
    a, b, ours, theirs = _start(satr, 0.15), _start(ec, 0.15), _generation(satr), _generation(ec)
    for t in range(4):
        a, metrics = ours(a, jax.random.key(t))
        b, _ = theirs(b, jax.random.key(t))
        assert float(metrics["signal"]) > 0
    np.testing.assert_allclose(_rho(a), _rho(b), atol=1e-5)


def test_small_populations_keep_what_does_not_matter_undecided() -> None:
    """After as many generations, both have the target half; EC has made up its mind about the neutral half as well."""
    decided = {}
    for name, strategy, rate in (("ec", EvolvingConnectivity(48), 0.15), ("satr", SignalAwareTrustRegion(48), 100.0)):
        state, generation = _start(strategy, rate), _generation(strategy)
        for t in range(25):
            state, _ = generation(state, jax.random.key(t))
        assert (_rho(state)[: SIZE // 2] > 0.5).mean() > 0.95
        decided[name] = np.abs(_rho(state)[SIZE // 2 :] - 0.5).mean()
    assert decided["satr"] < 0.7 * decided["ec"]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="kl_max=0 must be a positive number"):
        SignalAwareTrustRegion(8, kl_max=0)
    with pytest.raises(ValueError, match=r"signal_decay=1\.0 must lie in \[0, 1\)"):
        SignalAwareTrustRegion(8, signal_decay=1.0)
    with pytest.raises(ValueError, match="population_size=1 cannot be ranked"):
        SignalAwareTrustRegion(1)
