import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import mannwhitneyu, rankdata

from policies.population.synapses import unpack
from trainers.strategies import EvolvingConnectivity, SignalAwareTrustRegion
from trainers.strategies.satr import fitness_change

SIZE = 128
KERNELS = {"k": jax.ShapeDtypeStruct((SIZE, 1), bool)}


def _masks(words: dict) -> np.ndarray:
    return np.asarray(jax.vmap(lambda w: unpack(w, SIZE))(words["k"]))[..., 0]


def _start(strategy):
    state = strategy.init(jax.random.key(0), KERNELS)
    return state._replace(learning_rate=jnp.float32(0.15)) if "learning_rate" in state._fields else state


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
    """Four generations with a share of luck against the equations in NumPy."""
    strategy = SignalAwareTrustRegion(40, eps=0.05, kl_max=0.02, min_change=1.0, signal_decay=0.8)
    state, rng, xs, last, kappa = _start(strategy), np.random.default_rng(0), [], None, 0.02
    sample, update = jax.jit(strategy.sample), jax.jit(strategy.update)
    for t in range(4):
        rho, key = _rho(state), jax.random.key(t)
        theta = _masks(sample(state, key, jnp.arange(40)))
        fitness = (theta[:, :64].sum(1) + 10 * rng.normal(size=40)).astype(np.float32)
        w = (rankdata(fitness) - 1) / 39 - 0.5
        g = w @ (theta - rho) / 40
        xs.append(g / np.sqrt(rho * (1 - rho) * (w**2).sum() / 40**2))
        weights = 0.8 ** np.arange(t, -1, -1)
        z = weights @ np.stack(xs) / np.sqrt((weights**2).sum())
        if last is not None:
            u = mannwhitneyu(fitness, last).statistic - 40**2 / 2
            u /= np.sqrt(40**2 * 81 / 12)
            kappa = min(max(kappa * np.exp(0.5 * (min(abs(u), 2) - 1.0)), 1e-4), 0.02)
        step = 2 * rho * (1 - rho) * z * np.sqrt(2 * kappa / max(1.0, (z**2).mean()))
        state, metrics = update(state, key, jnp.asarray(fitness))
        np.testing.assert_allclose(_rho(state), np.clip(rho + step, 0.05, 0.95), atol=2e-4)
        assert float(metrics["kl_bound"]) == pytest.approx(kappa, rel=1e-4)
        last = fitness
    assert kappa < 0.02


def test_without_signal_evidence_has_variance_one_and_the_trust_region_contracts() -> None:
    strategy = SignalAwareTrustRegion(64)
    state = _start(strategy)
    rho = np.linspace(0.05, 0.95, SIZE, dtype=np.float32)
    update = jax.jit(strategy.update)
    squares, changes = [], []
    for t in range(150):
        state, metrics = update(state, jax.random.key(t), jax.random.normal(jax.random.key(1000 + t), (64,)))
        deviation = np.sqrt((1 - 0.9) * (1 - 0.9 ** (2 * t + 2)) / 1.9)
        squares.append(float(np.mean((np.asarray(state.evidence["k"]) / deviation) ** 2)))
        changes.append(float(metrics["fitness_change"]))
        state = state._replace(rho={"k": jnp.asarray(rho[:, None])})
    # Some 150 / 19 generations are independent of each other.
    assert np.mean(squares) == pytest.approx(1.0, abs=4 * np.sqrt(2 / SIZE / 8))
    assert np.mean(changes[1:]) == pytest.approx(0.0, abs=0.1)  # neighbours share a generation, so that errors cancel
    assert np.std(changes[1:]) == pytest.approx(1.0, abs=0.25)
    assert float(state.kl_bound) < 0.1 * strategy.kl_max


def test_change_keeps_the_trust_region_wide_and_its_end_contracts_it() -> None:
    strategy = SignalAwareTrustRegion(48, kl_max=0.03)
    state, generation = _start(strategy), _generation(strategy)
    bounds = []
    for t in range(60):
        state, metrics = generation(state, jax.random.key(t))
        bounds.append(float(metrics["kl_bound"]))
    assert min(bounds[:6]) == pytest.approx(0.03)  # everything improves
    assert (_rho(state)[: SIZE // 2] > 0.5).all()  # nothing is left to improve
    assert bounds[-1] < 0.03 / 50


@pytest.mark.parametrize("direction", [-1.0, 1.0])
def test_members_that_change_widen_the_trust_region(direction: float) -> None:
    """By half of 2 - 1.2 in a generation, whichever way they go and however far; without a change it falls to its least."""
    strategy = SignalAwareTrustRegion(64)
    update, key = jax.jit(strategy.update), jax.random.key(0)
    luck = jnp.asarray(np.random.default_rng(0).normal(size=64), jnp.float32)
    state = _start(strategy)._replace(kl_bound=jnp.float32(1e-3))
    state, metrics = update(state, key, luck)
    assert float(metrics["fitness_change"]) == 0.0  # there is nothing to compare with
    for t in range(1, 4):
        state, metrics = update(state, key, luck + 100 * direction * t)
        assert float(metrics["fitness_change"]) * direction > 5
    assert float(state.kl_bound) == pytest.approx(1e-3 * np.exp(3 * 0.4), rel=1e-4)
    for _ in range(20):
        state, _ = update(state, key, luck + 100 * direction * t)
    assert float(state.kl_bound) == pytest.approx(strategy.kl_min)
    still, _ = update(state._replace(kl_bound=jnp.float32(1e-3)), key, jnp.zeros(64))
    assert float(still.kl_bound) == pytest.approx(1e-3)  # equal fitness tells nothing


def test_every_update_stays_in_the_trust_region() -> None:
    strategy = SignalAwareTrustRegion(32, kl_max=0.05)
    state, generation = _start(strategy), _generation(strategy)
    moved = []
    for t in range(30):
        before = _rho(state)
        state, metrics = generation(state, jax.random.key(t))
        after = _rho(state)
        squares = (after - before) ** 2 / (2 * before * (1 - before))
        assert squares.mean() == pytest.approx(float(metrics["kl"]), rel=1e-3, abs=1e-9)
        assert squares.mean() <= float(metrics["kl_bound"]) * (1 + 1e-3)
        exact = after * np.log(after / before) + (1 - after) * np.log((1 - after) / (1 - before))
        assert exact.mean() <= 1.5 * float(metrics["kl_bound"])
        moved.append(exact.sum())
    assert np.mean(moved) > 0.05


@pytest.mark.parametrize("size", [2, 7, 64])
def test_change_is_mann_whitneys_statistic(size: int) -> None:
    rng = np.random.default_rng(size)
    for shift in (-1.0, 0.0, 2.0):
        last, new = rng.integers(0, 9, size).astype(np.float32), rng.integers(0, 9, size).astype(np.float32) + shift
        expected = (mannwhitneyu(new, last).statistic - size**2 / 2) / np.sqrt(size**2 * (2 * size + 1) / 12)
        assert float(fitness_change(jnp.asarray(last), jnp.asarray(new))) == pytest.approx(expected, abs=1e-5)
    worst = jnp.full(size, -jnp.inf)
    assert float(fitness_change(jnp.full(size, jnp.nan), worst)) == 0.0
    assert float(fitness_change(jnp.zeros(size), worst)) == -float(fitness_change(worst, jnp.zeros(size))) < 0


def test_equal_fitness_tells_nothing() -> None:
    strategy = SignalAwareTrustRegion(16)
    state = _start(strategy)
    for value in (1.0, float("nan")):
        after, metrics = strategy.update(state, jax.random.key(0), jnp.full(16, value))
        np.testing.assert_array_equal(_rho(after), _rho(state))
        assert all(np.isfinite(float(x)) for x in metrics.values())


def test_decided_synapses_take_short_steps() -> None:
    """The same evidence changes all log-odds equally, so that a probability moves in proportion to what remains of its
    variance."""
    strategy = SignalAwareTrustRegion(64)
    rho = jnp.linspace(0.01, 0.99, SIZE, dtype=jnp.float32)[:, None]
    state = _start(strategy)._replace(rho={"k": rho})
    after, _ = _generation(strategy)(state, jax.random.key(0))
    z, p = np.asarray(after.evidence["k"])[:, 0] / 0.1, np.asarray(rho)[:, 0]
    inside = (_rho(after) > 1.1e-3) & (_rho(after) < 1 - 1.1e-3) & (np.abs(z) > 0.1)
    assert inside.sum() > SIZE / 2
    change = ((_rho(after) - p) / (p * (1 - p)))[inside] / z[inside]
    np.testing.assert_allclose(change, change[0], rtol=1e-2)


def test_small_populations_find_more_of_what_is_good() -> None:
    """Sixteen members, as many generations: EC has decided more of the synapses wrongly."""
    found: dict[str, list[float]] = {"ec": [], "satr": []}
    for name, strategy in (("ec", EvolvingConnectivity(16)), ("satr", SignalAwareTrustRegion(16))):
        generation = _generation(strategy)
        for seed in range(4):
            state = _start(strategy)
            for t in range(40):
                state, _ = generation(state, jax.random.fold_in(jax.random.key(seed), t))
            found[name].append((_rho(state)[: SIZE // 2] > 0.5).mean())
    assert min(found["satr"]) > 0.85
    assert np.mean(found["satr"]) > np.mean(found["ec"])


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="kl_max=0 must be a positive number"):
        SignalAwareTrustRegion(8, kl_max=0)
    with pytest.raises(ValueError, match=r"kl_min=0\.1 must lie in \(0, kl_max\], here \(0, 0\.045\]"):
        SignalAwareTrustRegion(8, kl_min=0.1)
    with pytest.raises(ValueError, match=r"min_change=2 must lie in \[0, 2\)"):
        SignalAwareTrustRegion(8, min_change=2)
    with pytest.raises(ValueError, match=r"signal_decay=1\.0 must lie in \[0, 1\)"):
        SignalAwareTrustRegion(8, signal_decay=1.0)
    with pytest.raises(ValueError, match="population_size=1 cannot be ranked"):
        SignalAwareTrustRegion(1)
