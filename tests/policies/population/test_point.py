import jax
import jax.numpy as jnp
import numpy as np
import pytest

from policies.population import make_network
from policies.population.synapses import pack


def test_a_point_answers_its_parameters_whatever_it_sees() -> None:
    network = make_network("PointPolicy", 3, 5, initial_value=0.25)
    params = network.init(jax.random.key(0))
    np.testing.assert_array_equal(params["x"], np.full(5, 0.25))
    for obs in (jnp.zeros(3), jnp.ones(3)):
        np.testing.assert_array_equal(network.apply({"x": jnp.arange(5.0)}, (), obs)[1], np.arange(5.0))


@pytest.mark.parametrize("size", [1, 33, 64])
def test_bits_answer_plus_and_minus_one(size: int) -> None:
    network = make_network("bits", 1, size)
    assert network.kernels["bits"].shape == (size, 1)
    mask = np.random.default_rng(0).random((size, 1)) < 0.5
    output = network.apply({"bits": pack(jnp.asarray(mask))}, (), jnp.ones(1))[1]
    np.testing.assert_array_equal(output, np.where(mask[:, 0], 1.0, -1.0))
