import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainers.strategies.evosax import REFUSED, EvosaxStrategy

algorithms = pytest.importorskip("evosax.algorithms").algorithms
START = {"b": jnp.zeros(2), "w": jnp.full((2, 2), 2.0)}
TARGET = jnp.ones(6)


def _fitness(params) -> jax.Array:
    flat = jnp.concatenate([params["b"].reshape(-1, 2), params["w"].reshape(-1, 4)], axis=1)
    return -jnp.sum((flat - TARGET) ** 2, axis=1)


def _learn(strategy: EvosaxStrategy, generations: int):
    """The first state, the last one, and the mean fitness of each generation's members."""
    first = state = strategy.init(jax.random.key(0), START)

    @jax.jit
    def generation(state, key):
        fitness = _fitness(strategy.sample(state, key, jnp.arange(strategy.population_size)))
        new, metrics = strategy.update(state, key, fitness)
        return new, fitness.mean(), metrics

    means = []
    for g in range(generations):
        state, mean, metrics = generation(state, jax.random.key(g + 1))
        means.append(float(mean))
    assert all(np.isfinite(x) for x in metrics.values())
    return first, state, means


FAST = {"optimizer": "sgd", "learning_rate": 0.1}
RISES = {
    "SNES": {}, "Sep_CMA_ES": {}, "CMA_ES": {}, "Open_ES": FAST, "PGPE": FAST, "HillClimbing": {},
    "SimpleGA": {}, "DifferentialEvolution": {}, "PSO": {}, "MR15_GA": {},
}  # fmt: skip


@pytest.mark.parametrize("name", RISES)
def test_fitness_rises_on_a_quadratic(name: str) -> None:
    """Of the deployed network: evosax minimises, and with the sign wrong it would fall."""
    strategy = EvosaxStrategy(name, 16, 0.3, RISES[name])
    first, last, _ = _learn(strategy, 40)
    before, after = (float(_fitness(jax.tree.map(lambda x: x[None], strategy.mean(s)))[0]) for s in (first, last))
    assert before == -6.0
    assert after > -5.0


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(algorithms) - set(REFUSED) - set(RISES)))
def test_every_other_algorithm_runs_and_does_not_descend(name: str) -> None:
    options = {"num_generations": 30} if name == "DiffusionEvolution" else {}  # it anneals over so many
    strategy = EvosaxStrategy(name, 16, 0.3, options)
    first, last, means = _learn(strategy, 30)
    assert max(means[15:]) > means[0] - 1.0
    leaves = [[(x.shape, x.dtype) for x in jax.tree.leaves(s)] for s in (first, last)]
    assert leaves[0] == leaves[1]  # so that checkpoints fit


@pytest.mark.parametrize("name", ["SNES", "SimpleGA"])
def test_members_depend_on_their_index_and_the_scale_of_bad_is_ignored(name: str) -> None:
    strategy = EvosaxStrategy(name, 8, 0.3)
    state = strategy.init(jax.random.key(0), START)
    everyone = strategy.sample(state, jax.random.key(0), jnp.arange(8))
    some = strategy.sample(state, jax.random.key(1), jnp.array([5, 2]))
    np.testing.assert_array_equal(some["w"], everyone["w"][jnp.array([5, 2])])
    assert len(np.unique(np.asarray(everyone["w"])[:, 0, 0])) == 8
    fitness, key = jnp.arange(8.0), jax.random.key(3)
    update = jax.jit(strategy.update)
    bad = [update(state, key, fitness.at[0].set(value))[0] for value in (jnp.nan, -jnp.inf, 1.0)]
    for x, y, z in zip(*map(jax.tree.leaves, bad), strict=True):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(x, z)  # the worst of the others
    nothing, metrics = update(state, key, jnp.full(8, jnp.nan))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((strategy.mean(nothing), metrics)))


def test_sigma_and_options_reach_the_algorithm() -> None:
    spread = [
        np.asarray(EvosaxStrategy("SNES", 512, sigma).init(jax.random.key(0), START).population).std() for sigma in (0.1, 0.4)
    ]
    np.testing.assert_allclose(spread, [0.1, 0.4], rtol=0.05)
    given = EvosaxStrategy("SNES", 512, 0.1, {"std_init": 0.4}).init(jax.random.key(0), START)
    assert np.asarray(given.population).std() == pytest.approx(0.4, rel=0.05)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"Unknown strategy 'SNESS'\. Did you mean 'SNES'"):
        EvosaxStrategy("SNESS", 8)
    with pytest.raises(ValueError, match=r"PersistentES does not evolve networks here: it learns from parts of episodes"):
        EvosaxStrategy("PersistentES", 8)
    with pytest.raises(ValueError, match=r"evosax's SNES has no option 'lr_std'\. Did you mean 'lr_std_init'"):
        EvosaxStrategy("SNES", 8, options={"lr_std": 1}).init(jax.random.key(0), START)
    with pytest.raises(ValueError, match=r"Open_ES refuses 7 members of 6 parameters: Population size must be even"):
        EvosaxStrategy("Open_ES", 7).init(jax.random.key(0), START)
    with pytest.raises(ValueError, match="evosax's PSO has no optimizer"):
        EvosaxStrategy("PSO", 8, options={"optimizer": "adam"}).init(jax.random.key(0), START)
    with pytest.raises(ValueError, match="optimizer and learning_rate go together"):
        EvosaxStrategy("SNES", 8, options={"optimizer": "adam"}).init(jax.random.key(0), START)
    with pytest.raises(ValueError, match=r"sigma=0 must be positive"):
        EvosaxStrategy("SNES", 8, 0)
