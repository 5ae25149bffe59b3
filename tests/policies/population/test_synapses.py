import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.population import synapses


@settings(max_examples=8, deadline=None)
@given(rows=st.integers(1, 100), columns=st.integers(1, 9), seed=st.integers(0, 2**31))
def test_packed_products_are_those_of_the_mask(rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask, spikes = rng.random((rows, columns)) < 0.5, rng.random(rows) < 0.3
    x = rng.normal(size=rows).astype(np.float32)
    words = synapses.pack(jnp.asarray(mask))
    assert words.shape == (synapses.num_words(rows), columns)
    np.testing.assert_array_equal(synapses.unpack(words, rows), mask)
    count = synapses.spike_count(words, synapses.pack(jnp.asarray(spikes)))
    np.testing.assert_array_equal(count, spikes.astype(int) @ mask)
    np.testing.assert_array_equal(synapses.pack_spikes(jnp.asarray(spikes, jnp.uint8)), synapses.pack(jnp.asarray(spikes)))
    np.testing.assert_allclose(synapses.weighted_sum(words, jnp.asarray(x)), x @ mask, rtol=1e-4, atol=1e-4)
    minus = rng.random((rows, columns)) < 0.5
    difference = synapses.weighted_sum(words, jnp.asarray(x), synapses.pack(jnp.asarray(minus)))
    np.testing.assert_allclose(difference, x @ mask - x @ minus, rtol=1e-4, atol=1e-4)


def test_each_bit_carries_its_input_exactly() -> None:
    """One input at a time: any error would show, since nothing is added to it."""
    words = synapses.pack(jnp.eye(64, dtype=bool))
    for size in (1e-20, 0.3, 32768.0):
        carried = jax.vmap(lambda x: synapses.weighted_sum(words, x))(size * jnp.eye(64))
        np.testing.assert_array_equal(carried, np.float32(size) * np.eye(64, dtype=np.float32))


def test_counts_beyond_int8_do_not_wrap() -> None:
    """128 x 128 ones overflow the published int8 accumulator."""
    words = synapses.pack(jnp.ones((512, 2), bool))
    assert synapses.spike_count(words, synapses.pack(jnp.ones(512, bool))).tolist() == [512, 512]


def test_bit_planes_round_trip() -> None:
    rows = jax.random.normal(jax.random.key(0), (70, 3))
    np.testing.assert_array_equal(synapses.from_bit_planes(synapses.bit_planes(rows), 70), rows)
