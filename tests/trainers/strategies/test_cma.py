import cma
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cma.restricted_gaussian_sampler import GaussVDSampler, GaussVkDSampler

from trainers.strategies.cma import CMA
from trainers.strategies.cma_memory import needed_bytes, pick_variant
from trainers.strategies.cma_variants import VARIANTS, make, read, write

PYCMA = {
    "full": {},
    "sep": {"CMA_diagonal": True},
    "vd": GaussVDSampler.extend_cma_options(),
    "vkd": GaussVkDSampler.extend_cma_options(),
}
START = {"b": jnp.arange(3.0), "w": jnp.full((3, 3), 2.0)}  # 12 parameters


def _flat(params) -> np.ndarray:
    return np.concatenate([np.asarray(x).reshape(len(params["b"]), -1) for _, x in sorted(params.items())], axis=1)


def _badness(x: np.ndarray) -> np.ndarray:
    """A cigar, of which the long axis is not one of the parameters."""
    y = np.asarray(x, np.float64) @ np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0]
    return y[..., 0] ** 2 + 1e4 * (y[..., 1:] ** 2).sum(axis=-1)


def _run(strategy: CMA, generations: int, state=None, first: int = 0):
    state = strategy.init(jax.random.key(0), START) if state is None else state
    found = []
    for g in range(first, first + generations):
        key = jax.random.key(g + 1)
        members = _flat(jax.jit(strategy.sample)(state, key, jnp.arange(strategy.population_size)))
        state, metrics = strategy.update(state, key, jnp.asarray(-_badness(members), jnp.float32))
        found.append((members, metrics))
    return state, found


@pytest.mark.parametrize("variant", PYCMA)
def test_it_is_pycma(variant: str) -> None:
    """Bit for bit the members of pycma's own loop, which keeps its object all the while."""
    strategy = CMA(12, variant, sigma0=0.5)
    state, found = _run(strategy, 20)
    rng = np.random.default_rng([*np.asarray(jax.random.key_data(jax.random.key(0))), 1])

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape)

    sampler = {"CMA_sampler_options": {"randn": draw}} if variant.startswith("v") else {}
    own = {"popsize": 12, "randn": draw, "seed": np.nan, "verbose": -9, "verb_log": 0, "AdaptSigma": True}
    start = np.concatenate([np.asarray(x).ravel() for x in START.values()])
    search = cma.CMAEvolutionStrategy(start, 0.5, own | PYCMA[variant] | sampler)
    for g in range(20):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(jax.random.key(g))))
        members = search.ask()
        np.testing.assert_array_equal(np.float32(members), found[g][0], err_msg=f"generation {g}")
        search.tell(members, _badness(np.float32(members)))
    assert _badness(_mean(strategy, state)) < 0.5 * _badness(start)


def _mean(strategy: CMA, state) -> np.ndarray:
    return _flat(jax.tree.map(lambda x: x[None], strategy.mean(state)))[0]


def test_vkd_goes_on_from_its_variables_when_it_has_found_vectors() -> None:
    rng = np.random.default_rng(0)

    def new():
        return make(VARIANTS["vkd"], np.ones(12), 0.5, 12, lambda *shape: rng.standard_normal(shape))

    def iterate(search) -> np.ndarray:
        members = search.ask()
        search.tell(members, _badness(np.array(members)))
        return np.array(members)

    search = new()
    while search.sm.S.max() == 0 and search.countiter < 2000:
        iterate(search)
    assert search.sm.k > 0
    other = new()
    write(VARIANTS["vkd"], other, read(VARIANTS["vkd"], search))
    for seed in range(30):
        rng = np.random.default_rng(seed)
        members = iterate(search)
        rng = np.random.default_rng(seed)
        np.testing.assert_array_equal(iterate(other), members)


@pytest.mark.parametrize("variant", PYCMA)
def test_a_state_keeps_its_shapes_and_goes_on_from_plain_arrays(variant: str) -> None:
    strategy = CMA(12, variant, sigma0=0.5)
    first = strategy.init(jax.random.key(0), START)
    half, _ = _run(strategy, 4, first)
    shapes = [[(x.shape, x.dtype) for x in map(np.asarray, jax.tree.leaves(s))] for s in (first, half)]
    assert shapes[0] == shapes[1]
    stored = jax.tree.map(jnp.asarray, half)
    whole, _ = _run(strategy, 3, half, first=4)
    again, _ = _run(strategy, 3, stored, first=4)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_equal_members_share_their_rank_and_invalid_ones_are_worst() -> None:
    """The scale of fitness, and how bad the worst are, makes no difference; a NaN is never followed."""
    strategy, key = CMA(6, sigma0=0.5), jax.random.key(1)
    state = strategy.init(jax.random.key(0), START)
    fitness = jnp.array([3.0, 1.0, -2.0, 1.0, 0.0, -5.0])
    same = [fitness, 100 * fitness + 7, fitness.at[5].set(jnp.nan), fitness.at[5].set(-jnp.inf)]
    means = [_mean(strategy, strategy.update(state, key, f)[0]) for f in same]
    for mean in means[1:]:
        np.testing.assert_array_equal(mean, means[0])
    other = _mean(strategy, strategy.update(state, key, fitness.at[0].set(jnp.nan))[0])
    assert (other != means[0]).any()
    nothing, metrics = strategy.update(state, key, jnp.full(6, jnp.nan))
    assert np.isfinite(_mean(strategy, nothing)).all()
    assert all(np.isfinite(x) for x in metrics.values())


def test_a_restart_doubles_the_population_over_twice_the_generations() -> None:
    """Under constant fitness: three iterations of one generation, three of two, then iterations of four."""
    strategy = CMA(4, sigma0=0.5, restarts=2, patience=2)
    state = strategy.init(jax.random.key(0), START)
    restarts, members, means = [], [], []
    for g in range(13):
        members.append(_flat(strategy.sample(state, jax.random.key(0), jnp.arange(4))))
        means.append(_mean(strategy, state))
        state, _ = strategy.update(state, jax.random.key(g), jnp.zeros(4))
        restarts.append(int(state.restart))
    assert restarts == 2 * [0] + 6 * [1] + 5 * [2]
    assert (members[3] != members[4]).all()
    start = np.concatenate([np.asarray(x).ravel() for x in START.values()])
    np.testing.assert_array_equal(means[3], start)


def test_restarted_search_uses_all_members_of_its_iteration() -> None:
    """After a restart, only the second generation of each iteration moves the mean, and the first counts in it."""
    strategy = CMA(4, sigma0=0.5, restarts=1, patience=1)
    state = strategy.init(jax.random.key(0), START)
    while not state.restart:
        state, _ = strategy.update(state, jax.random.key(7), jnp.zeros(4))
    before = _mean(strategy, state)
    results = []
    for good in (0, 1):  # which of the first generation is best
        first, _ = strategy.update(state, jax.random.key(8), jnp.zeros(4).at[good].set(1.0))
        np.testing.assert_array_equal(_mean(strategy, first), before)
        second, _ = strategy.update(first, jax.random.key(9), jnp.zeros(4))
        results.append(_mean(strategy, second))
    assert (results[0] != before).any()
    assert (results[0] != results[1]).any()


def test_a_variant_is_picked_by_memory_and_says_why() -> None:
    assert pick_variant("auto", 1000, 20, 20, 2, 10**10)[0] == "full"
    name, reason = pick_variant("auto", 100_000, 20, 20, 2, 10**10)
    assert name == "vd"
    assert "because full would need 9.6e+02 GB" in reason
    least = needed_bytes("sep", 100_000, 20, 20, 2)
    assert pick_variant("auto", 100_000, 20, 20, 2, 2 * least + 1)[0] == "sep"
    with pytest.raises(ValueError, match=r"does not fit: full would need .* and vd would need .* and sep would need"):
        pick_variant("auto", 100_000, 20, 20, 2, 2 * least - 1)
    with pytest.raises(ValueError, match=r"does not fit: full would need"):
        pick_variant("full", 100_000, 20, 20, 2, 10**10)
    assert pick_variant("full", 4000, 20, 20, 2, 10**11)[0] == "full"
    assert pick_variant("auto", 4000, 20, 20, 2, 10**11)[0] == "vd"
    with pytest.raises(ValueError, match="vd takes at least 10 parameters"):
        pick_variant("vd", 5, 20, 20, 2, 10**10)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"Unknown variant 'ful'\. Did you mean 'full'"):
        CMA(8, "ful")
    with pytest.raises(ValueError, match="population_size=1 cannot be ranked"):
        CMA(1)
    with pytest.raises(ValueError, match=r"sigma0=0 must be positive"):
        CMA(8, sigma0=0)
    with pytest.raises(ValueError, match=r"restarts=9 must lie in \[0, 8\]"):
        CMA(8, restarts=9)
    with pytest.raises(ValueError, match="patience=0 must be at least 1"):
        CMA(8, patience=0)
