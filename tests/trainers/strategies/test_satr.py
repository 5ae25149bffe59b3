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
    """Three generations with a share of luck against the equations in NumPy."""
    strategy = SignalAwareTrustRegion(40, eps=0.05, kl_max=0.02, signal_decay=0.8)
    state, rng, xs = _start(strategy), np.random.default_rng(0), []
    sample, update = jax.jit(strategy.sample), jax.jit(strategy.update)
    for t in range(3):
        rho, key = _rho(state), jax.random.key(t)
        theta = _masks(sample(state, key, jnp.arange(40)))
        fitness = (theta[:, :64].sum(1) + rng.normal(size=40)).astype(np.float32)
        w = (rankdata(fitness) - 1) / 39 - 0.5
        g = w @ (theta - rho) / 40
        xs.append(g / np.sqrt(rho * (1 - rho) * (w**2).sum() / 40**2))
        weights = 0.8 ** np.arange(t, -1, -1)
        z = weights @ np.stack(xs) / np.sqrt((weights**2).sum())
        share = np.maximum(0, 1 - 1 / z**2)
        step = np.sign(z) * np.sqrt(2 * 0.02 * share * rho * (1 - rho))
        state, metrics = update(state, key, jnp.asarray(fitness))
        np.testing.assert_allclose(_rho(state), np.clip(rho + step, 0.05, 0.95), atol=2e-4)
        assert float(metrics["signal"]) == pytest.approx(share.mean(), rel=1e-3)
    assert (share > 0).any()
    assert (share == 0).any()


def test_without_signal_evidence_has_variance_one_and_two_of_three_stand_still() -> None:
    strategy = SignalAwareTrustRegion(64)
    state = _start(strategy)
    rho = np.linspace(0.05, 0.95, SIZE, dtype=np.float32)
    update = jax.jit(strategy.update)
    squares, still = [], []
    for t in range(150):
        state, _ = update(state, jax.random.key(t), jax.random.normal(jax.random.key(1000 + t), (64,)))
        deviation = np.sqrt((1 - 0.9) * (1 - 0.9 ** (2 * t + 2)) / 1.9)
        squares.append(float(np.mean((np.asarray(state.evidence["k"]) / deviation) ** 2)))
        still.append((_rho(state) == rho.astype(float)).mean() if t else np.nan)
        state = state._replace(rho={"k": jnp.asarray(rho[:, None])})
    # Some 150 / 19 generations are independent of each other.
    assert np.mean(squares) == pytest.approx(1.0, abs=4 * np.sqrt(2 / SIZE / 8))
    assert np.nanmean(still) == pytest.approx(0.683, abs=0.06)


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
        assert squares.mean() == pytest.approx(float(metrics["kl"]), rel=1e-3, abs=1e-9)
        assert squares.mean() <= 0.05 * float(metrics["signal"]) * (1 + 1e-3) + 1e-9
        exact = after * np.log(after / before) + (1 - after) * np.log((1 - after) / (1 - before))
        assert exact.max() <= 2 * 0.05
        moved.append(exact.sum())
    assert np.mean(moved) > 0.05


def test_equal_fitness_tells_nothing() -> None:
    strategy = SignalAwareTrustRegion(16)
    state = _start(strategy)
    for value in (1.0, float("nan")):
        after, metrics = strategy.update(state, jax.random.key(0), jnp.full(16, value))
        np.testing.assert_array_equal(_rho(after), _rho(state))
        assert all(np.isfinite(float(x)) for x in metrics.values())


def test_decided_synapses_take_short_steps() -> None:
    """The same evidence moves a synapse near 0 or 1 by the root of what remains of its variance."""
    strategy = SignalAwareTrustRegion(64, eps=1e-3)
    steps = []
    for p in (0.5, 0.99):
        state = _start(strategy)._replace(rho={"k": jnp.full((SIZE, 1), p)})
        for t in range(8):
            after, _ = _generation(strategy)(state, jax.random.key(t))
            steps.append((p, np.abs(_rho(after) - p).max()))
    largest = {p: max(step for q, step in steps if q == p) for p in (0.5, 0.99)}
    assert largest[0.5] <= 0.1 + 1e-5
    assert largest[0.99] <= 0.1 * np.sqrt(4 * 0.99 * 0.01) + 1e-5


def test_small_populations_decide_less_of_what_does_not_matter() -> None:
    """After as many generations both have the target half; the neutral half is farther from one half under EC."""
    drift: dict[str, list[float]] = {"ec": [], "satr": []}
    for name, strategy in (("ec", EvolvingConnectivity(48)), ("satr", SignalAwareTrustRegion(48))):
        generation = _generation(strategy)
        for seed in range(3):
            state = _start(strategy)
            for t in range(25):
                state, _ = generation(state, jax.random.fold_in(jax.random.key(seed), t))
            assert (_rho(state)[: SIZE // 2] > 0.5).mean() > 0.95
            drift[name].append(np.abs(_rho(state)[SIZE // 2 :] - 0.5).mean())
    assert all(satr < ec for satr, ec in zip(drift["satr"], drift["ec"], strict=True))


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="kl_max=0 must be a positive number"):
        SignalAwareTrustRegion(8, kl_max=0)
    with pytest.raises(ValueError, match=r"signal_decay=1\.0 must lie in \[0, 1\)"):
        SignalAwareTrustRegion(8, signal_decay=1.0)
    with pytest.raises(ValueError, match="population_size=1 cannot be ranked"):
        SignalAwareTrustRegion(1)
