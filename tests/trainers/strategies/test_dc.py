import jax
import jax.numpy as jnp
import numpy as np
import pytest

from policies.population.synapses import unpack
from trainers.strategies import DistributionalCrossover, EvolvingConnectivity, centred_ranks
from trainers.strategies.crossover import OPERATORS

KERNELS = {"a": jax.ShapeDtypeStruct((40, 3), bool), "b": jax.ShapeDtypeStruct((5, 2), bool)}


def _masks(words: dict) -> np.ndarray:
    """All synapses of each member of a packed population, boolean (P, synapses)."""
    parts = [jax.vmap(lambda w, n=n: unpack(w, KERNELS[n].shape[0]))(words[n]) for n in sorted(KERNELS)]
    return np.concatenate([np.asarray(part).reshape(len(part), -1) for part in parts], axis=1)


def _rho(state) -> np.ndarray:
    """All probabilities of each distribution, (M, synapses)."""
    return np.concatenate([np.asarray(state.rho[n]).reshape(len(state.rho[n]), -1) for n in sorted(KERNELS)], axis=1)


def _counts(state) -> list[int]:
    """Steps that the optimiser of each distribution has made."""
    return np.asarray(state.opt_state.count).tolist()


def _run(strategy, generations: int, fitness_of, key: int = 0, rate: float = 0.15):
    """States from the first on, and the metrics of each generation."""
    sample, update = jax.jit(strategy.sample), jax.jit(strategy.update)
    states, metrics = [strategy.init(jax.random.key(key), KERNELS)], []
    for g in range(generations):
        state = states[-1]._replace(learning_rate=jnp.float32(rate))
        words = sample(state, jax.random.key(g), jnp.arange(strategy.population_size))
        state, row = update(state, jax.random.key(g), jnp.asarray(fitness_of(_masks(words), g), jnp.float32))
        states.append(state)
        metrics.append(row)
    return states, metrics


def _first_half(masks: np.ndarray, g: int) -> np.ndarray:
    return masks[:, :65].sum(1)


@pytest.mark.parametrize("antithetic", [False, True])
def test_one_distribution_without_crossover_is_ec_bit_for_bit(antithetic: bool) -> None:
    def fitness(masks: np.ndarray, g: int) -> np.ndarray:
        return np.where(np.arange(50) == g, np.nan, masks[:, :65].sum(1))

    dc = DistributionalCrossover(50, 1, antithetic=antithetic, crossover_every=0)
    ours, theirs = (_run(s, 4, fitness)[0] for s in (dc, EvolvingConnectivity(50, antithetic=antithetic)))
    for a, b in zip(ours, theirs, strict=True):
        for x, y in zip(jax.tree.leaves((a.rho, a.opt_state)), jax.tree.leaves((b.rho, b.opt_state)), strict=True):
            np.testing.assert_array_equal(x[0], y)
    assert (_rho(ours[-1]) != 0.5).all()
    members = jnp.array([3, 17, 49])
    a, b = (s.sample(states[-1], jax.random.key(9), members) for s, states in ((dc, ours), (EvolvingConnectivity(50), theirs)))
    if not antithetic:
        np.testing.assert_array_equal(_masks(a), _masks(b))
    np.testing.assert_array_equal(dc.mean(ours[-1])["a"], EvolvingConnectivity(50).mean(theirs[-1])["a"])


def test_each_distribution_climbs_by_its_own_samples() -> None:
    """A local generation of plain ascent against NumPy sums over each third of the masks."""
    strategy = DistributionalCrossover(36, 3, optimizer="sgd", crossover_every=5, jitter=0.1)
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def fitness(masks: np.ndarray, g: int) -> np.ndarray:
        values = np.random.default_rng(g).normal(size=36)
        seen.append((masks, values))
        return values

    (first, second), _ = _run(strategy, 1, fitness, rate=0.7)
    masks, values = seen[0]
    assert np.abs(_rho(first)[0] - _rho(first)[1]).mean() > 0.05
    for m, part in enumerate(np.split(np.arange(36), 3)):
        weights = np.asarray(centred_ranks(jnp.asarray(values[part], jnp.float32)))
        step = 0.7 / 12 * (weights[:, None] * (masks[part] - _rho(first)[m])).sum(0)
        np.testing.assert_allclose(_rho(second)[m], np.clip(_rho(first)[m] + step, 1e-3, 1 - 1e-3), atol=2e-6)
    np.testing.assert_allclose(second.fitness, values.reshape(3, 12).mean(1), rtol=1e-5)


def _judged(order: list[int], size: int = 63):
    """Fitness by candidate (those named first are best): members are dealt to candidates in order, evenly."""
    groups = 6
    owners = np.array([i * groups // size for i in range(size)])
    return owners, np.array([10.0 - order.index(owner) for owner in owners])


@pytest.mark.parametrize("name", OPERATORS)
def test_the_best_of_parents_and_children_are_kept_as_they_were_played(name: str) -> None:
    strategy = DistributionalCrossover(
        63, 3, crossover=name, crossover_only=True, offspring_ratio=1.0, selection="deployed", jitter=0.2, mutation=0.3
    )
    owners, values = _judged([4, 1, 3, 0, 2, 5])
    played: list[np.ndarray] = []

    def fitness(masks: np.ndarray, g: int) -> np.ndarray:
        played.append(masks)
        return values

    (before, after), (metrics,) = _run(strategy, 1, fitness)
    for candidate in range(6):
        assert (played[0][owners == candidate] == played[0][owners == candidate][0]).all()
    for row, candidate in enumerate([4, 1, 3]):
        np.testing.assert_array_equal(_rho(after)[row] > 0.5, played[0][owners == candidate][0])
    np.testing.assert_array_equal(_rho(after)[1], _rho(before)[1])
    np.testing.assert_array_equal(after.fitness, [10.0, 9.0, 8.0])
    assert int(metrics["children_kept"]) == 2
    rho = _rho(after)
    assert rho.min() >= np.float32(1e-3)
    assert rho.max() <= np.float32(1 - 1e-3)
    assert ((rho == rho.min()).sum() > 1) or ((rho == rho.max()).sum() > 1), "no child was clipped: this proves nothing"
    np.testing.assert_array_equal(strategy.mean(after)["a"], _packed(rho[0])["a"])


def _packed(rho: np.ndarray) -> dict:
    from policies.population.synapses import pack

    sizes = np.cumsum([KERNELS[n].shape[0] * KERNELS[n].shape[1] for n in sorted(KERNELS)])[:-1]
    return {
        n: pack(jnp.asarray(part.reshape(KERNELS[n].shape) > 0.5))
        for n, part in zip(sorted(KERNELS), np.split(rho, sizes), strict=True)
    }


@pytest.mark.parametrize("mix", [False, True])
def test_children_start_their_optimiser_afresh_or_with_a_mixture(mix: bool) -> None:
    """Two local generations, then a crossover that two children and one parent survive."""
    strategy = DistributionalCrossover(60, 3, crossover_every=3, offspring_ratio=1.0, mix_moments=mix)
    _, values = _judged([3, 0, 5, 1, 2, 4], 60)
    states, metrics = _run(strategy, 4, lambda masks, g: values if g == 2 else _first_half(masks, g))
    assert [int(row["children_kept"]) for row in metrics] == [0, 0, 2, 0]
    assert _counts(states[2]) == [2, 2, 2]
    assert _counts(states[3]) == ([2, 2, 2] if mix else [0, 2, 0])
    np.testing.assert_array_equal(_rho(states[3])[1], _rho(states[2])[0])
    moments = [np.asarray(s.opt_state.inner_state[0].mu["a"]) for s in states[2:4]]
    np.testing.assert_array_equal(moments[1][1], moments[0][0])
    child = moments[1][0]
    pairs = [(moments[0][i] + moments[0][j]) / 2 for i, j in ((0, 1), (0, 2), (1, 2))]
    assert any(np.array_equal(child, pair) for pair in pairs) if mix else not child.any()
    assert int(states[-1].generation) == 4


def test_a_member_depends_on_its_index_alone_and_children_differ_between_generations() -> None:
    strategy = DistributionalCrossover(30, 2, crossover_only=True, jitter=0.2)
    state, key = strategy.init(jax.random.key(0), KERNELS), jax.random.key(5)
    sample = jax.jit(strategy.sample)
    everyone = _masks(sample(state, key, jnp.arange(30)))
    np.testing.assert_array_equal(_masks(strategy.sample(state, key, jnp.array([29, 2]))), everyone[[29, 2]])
    assert len({mask.tobytes() for mask in everyone}) == 30
    fitness = jnp.arange(30.0)  # the last candidates, children, are best
    children = [_rho(jax.jit(strategy.update)(state, jax.random.key(k), fitness)[0])[0] for k in (5, 5, 6)]
    np.testing.assert_array_equal(children[0], children[1])
    assert np.abs(children[0] - children[2]).mean() > 0.01


def test_samples_that_diverged_count_as_the_worst_finite_one() -> None:
    strategy = DistributionalCrossover(12, 2, crossover_only=True, offspring_ratio=1.0)
    values = np.repeat([4.0, 3.0, 2.0, 1.0], 3)
    values[0] = np.nan  # the first candidate's mean is then (1 + 4 + 4) / 3
    states, _ = _run(strategy, 1, lambda masks, g: values)
    np.testing.assert_allclose(states[1].fitness, [3.0, 3.0])
    states, _ = _run(strategy, 1, lambda masks, g: np.full(12, np.nan))
    np.testing.assert_array_equal(_rho(states[1]), _rho(states[0]))


def test_it_solves_half_one_max_and_reports_entropy_and_distance() -> None:
    strategy = DistributionalCrossover(256, 2, crossover_every=8)
    states, metrics = _run(strategy, 48, _first_half)
    assert _masks(jax.tree.map(lambda w: w[None], strategy.mean(states[-1])))[0, :65].all()
    assert _rho(states[-1])[:, :65].mean() > 0.95
    rho, row = _rho(states[20]).astype(float), metrics[19]
    for m in range(2):
        entropy = -(rho[m] * np.log(rho[m]) + (1 - rho[m]) * np.log(1 - rho[m])).mean()
        assert float(row[f"entropy_{m}"]) == pytest.approx(entropy, rel=1e-4)
    assert float(row["distance"]) == pytest.approx(np.abs(rho[0] - rho[1]).mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"crossover": "random-pick"}, r"Unknown crossover 'random-pick'\. Did you mean 'random_pick'"),
        ({"selection": "sample"}, "Did you mean 'sampled'"),
        ({"population_size": 50}, "population_size=50 is not a multiple of num_distributions=4; use 48"),
        ({"num_distributions": 1}, "Crossover takes two parents"),
        ({"num_distributions": 0}, "num_distributions=0 must be at least 1"),
        ({"offspring_ratio": 0.2}, r"is no child; use 0\.25 or more"),
        ({"offspring_ratio": 30.0}, "without a sample"),
        ({"mutation": -1.0}, r"mutation=-1\.0 must be at least 0"),
        ({"population_size": 4}, "population_size=1 cannot be ranked"),
        ({"optimizer": "adamm"}, "Did you mean 'adam'"),
    ],
)
def test_bad_arguments(kwargs: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        DistributionalCrossover(**({"population_size": 64} | kwargs))


def test_samples_of_one_number_share_their_start_in_a_crossover() -> None:
    dc = DistributionalCrossover(24, 2, crossover_every=2, offspring_ratio=2.0)
    state = dc.init(jax.random.key(0), KERNELS)
    np.testing.assert_array_equal(dc.streams(state), np.arange(24))
    crossing = state._replace(generation=jnp.int32(1))
    np.testing.assert_array_equal(dc.streams(crossing), np.tile(np.arange(4), 6))
    np.testing.assert_array_equal(DistributionalCrossover(6, 1, crossover_every=0).streams(state), np.arange(6))
