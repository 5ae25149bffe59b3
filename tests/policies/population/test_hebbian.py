"""Plastic networks against plain NumPy loops, and their published sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from policies.equations.plasticity import INITIAL_WEIGHTS, RULES, initial_weights
from policies.population import MLP, Hebbian, make_network


class NumpyHebbian:
    """ABCD with learning rates in float64, one synapse at a time."""

    def __init__(self, params, weights, normalize: str, output: str) -> None:
        self.rules = [{name: np.asarray(x, float) for name, x in layer.items()} for layer in params]
        self.weights = [np.asarray(w, float) for w in weights]
        self.normalize, self.output = normalize, output

    def step(self, obs: np.ndarray) -> np.ndarray:
        o = [obs.astype(float)]
        for layer, w in enumerate(self.weights):
            x = np.array([sum(o[-1][i] * w[i, j] for i in range(len(w))) for j in range(w.shape[1])])
            o.append(np.tanh(x) if layer < len(self.weights) - 1 or self.output == "tanh" else x)
        for layer, (w, c) in enumerate(zip(self.weights, self.rules, strict=True)):
            for i in range(w.shape[0]):
                for j in range(w.shape[1]):
                    a, b = o[layer][i], o[layer + 1][j]
                    A, B, C, D, eta = (c[name][i, j] for name in ("A", "B", "C", "D", "eta"))
                    w[i, j] += eta * (A * a * b + B * a + C * b + D)
            if self.normalize == "max":
                w /= np.abs(w).max()
            elif self.normalize == "clip":
                np.clip(w, -1, 1, out=w)
        return o[-1]


@pytest.mark.parametrize(("normalize", "output"), [("max", "linear"), ("clip", "tanh"), ("none", "tanh")])
def test_equals_a_loop_over_synapses(normalize: str, output: str) -> None:
    network = Hebbian(3, 2, hidden_sizes=(5, 4), normalize=normalize, output=output, coefficient_scale=0.3)
    params, carry = network.init(jax.random.key(0)), network.initial_carry(jax.random.key(1))
    reference = NumpyHebbian(params, carry.weights, normalize, output)
    apply, rng = jax.jit(network.apply), np.random.default_rng(0)
    for _ in range(20):
        x = rng.normal(size=3).astype(np.float32)
        carry, action = apply(params, carry, x)
        np.testing.assert_allclose(action, reference.step(x), rtol=1e-3, atol=1e-3)
        for w, expected in zip(carry.weights, reference.weights, strict=True):
            np.testing.assert_allclose(w, expected, rtol=1e-3, atol=1e-3)
    assert not np.allclose(carry.weights[0], network.initial_carry(jax.random.key(1)).weights[0], atol=0.1)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_its_coefficients_and_moves_the_weights(rule: str) -> None:
    network = Hebbian(3, 2, hidden_sizes=(4,), hebb_rule=rule, init_weights="uniform_big", normalize="none")
    params, carry = network.init(jax.random.key(0)), network.initial_carry(jax.random.key(1))
    assert all(layer.keys() == set(RULES[rule]) for layer in params)
    after, _ = network.apply(params, carry, jnp.array([1.0, -2.0, 0.5]))
    for w, start in zip(after.weights, carry.weights, strict=True):
        assert float(jnp.abs(w - start).max()) > 0.01


def test_published_sizes() -> None:
    def sizes(tree) -> int:
        return sum(x.size for x in jax.tree.leaves(tree))

    key = jax.random.key(0)
    for network, connections, kernels in (
        (make_network("HebbianPolicy", 28, 8), 12_288, 0),
        (make_network("HebbianCnnPolicy", (96, 96, 3), 3), 91_328, 1362),
    ):
        assert sizes(jax.eval_shape(network.initial_carry, key).weights) == connections
        assert sizes(jax.eval_shape(network.init, key)) == 5 * connections + kernels
    static = make_network("MlpPolicy", 28, 8, hidden_sizes=[128, 64], bias=False)
    assert sizes(jax.eval_shape(static.init, key)) == 12_288
    assert sizes(jax.eval_shape(make_network("CnnPolicy", (96, 96, 3), 3).init, key)) == 91_328 + 1362


def test_without_rules_it_is_the_static_network() -> None:
    network, static = Hebbian(3, 2, normalize="none"), MLP(3, 2, hidden_sizes=(128, 64), bias=False)
    zero = jax.tree.map(jnp.zeros_like, network.init(jax.random.key(0)))
    carry, x = network.initial_carry(jax.random.key(1)), jnp.array([0.1, 2.0, -1.0])
    for _ in range(3):
        carry, action = network.apply(zero, carry, x)
    weights = {f"w{i}": w for i, w in enumerate(carry.weights)}
    np.testing.assert_array_equal(action, static.apply(weights, (), x)[1])


def test_the_largest_magnitude_is_one_and_a_layer_of_zeros_stays_so() -> None:
    network = Hebbian(3, 2)
    params, carry = network.init(jax.random.key(0)), network.initial_carry(jax.random.key(1))
    after, _ = network.apply(params, carry, jnp.ones(3))
    np.testing.assert_allclose([jnp.abs(w).max() for w in after.weights], 1.0, rtol=1e-6)
    silent = Hebbian(3, 2, hebb_rule="A", init_weights="zeros")
    after, action = silent.apply(silent.init(jax.random.key(0)), silent.initial_carry(jax.random.key(1)), jnp.ones(3))
    for x in (action, *after.weights):
        np.testing.assert_array_equal(x, jnp.zeros_like(x))


@pytest.mark.parametrize("name", [name for name in INITIAL_WEIGHTS if name != "coevolve"])
def test_initial_weights_have_their_distribution_and_are_drawn_anew(name: str) -> None:
    network = Hebbian(60, 10, hidden_sizes=(50,), init_weights=name)
    first, again = (np.asarray(network.initial_carry(jax.random.key(seed)).weights[0]) for seed in (0, 1))
    kind, scale = initial_weights(name, 60, 50)
    if kind == "constant":
        np.testing.assert_array_equal(first, np.full((60, 50), scale))
        return
    assert (first != again).any()
    spread = {"uniform": scale / 3**0.5, "normal": scale, "sparse": scale * 0.2**0.5}[kind]
    assert first.std() == pytest.approx(spread, rel=0.1)
    assert (first == 0).mean() == pytest.approx(0.8 if kind == "sparse" else 0.0, abs=0.05)
    if kind == "uniform":
        assert scale * 0.98 < np.abs(first).max() <= scale


def test_coevolved_weights_are_parameters_that_every_episode_starts_from() -> None:
    network = Hebbian(3, 2, hidden_sizes=(4,), init_weights="coevolve")
    params = network.init(jax.random.key(0))
    static = {f"w{i}": layer["w"] for i, layer in enumerate(params)}
    x = jnp.array([1.0, -1.0, 0.5])
    expected = MLP(3, 2, hidden_sizes=(4,), bias=False).apply(static, (), x)[1]
    carry, first = network.apply(params, network.initial_carry(jax.random.key(1)), x)
    _, second = network.apply(params, carry, x)
    _, anew = network.apply(params, network.initial_carry(jax.random.key(2)), x)
    np.testing.assert_allclose(first, expected, rtol=1e-6)
    np.testing.assert_array_equal(first, anew)
    assert not np.allclose(first, second, rtol=0.01)


@pytest.mark.parametrize(("coefficients", "std"), [("normal", 0.5), ("uniform", 0.5 / 3**0.5)])
def test_coefficients_start_from_their_distribution(coefficients: str, std: float) -> None:
    network = Hebbian(60, 10, coefficients=coefficients, coefficient_scale=0.5)
    for x in network.init(jax.random.key(0))[0].values():
        assert float(x.std()) == pytest.approx(std, rel=0.05)


def test_a_thousand_members_at_once_are_each_themselves() -> None:
    network = Hebbian(4, 2, hidden_sizes=(16, 8))
    keys = jax.random.split(jax.random.key(0), 1000)
    params, carry = jax.vmap(network.init)(keys), jax.vmap(network.initial_carry)(keys)
    obs = jax.random.normal(jax.random.key(1), (1000, 4))
    step = jax.jit(jax.vmap(network.apply))
    after, actions = step(params, step(params, carry, obs)[0], obs)
    for i in (0, 499, 999):
        alone = jax.tree.map(lambda x, i=i: x[i], (params, carry))
        expected, action = network.apply(alone[0], network.apply(*alone, obs[i])[0], obs[i])
        np.testing.assert_allclose(actions[i], action, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(after.weights[1][i], expected.weights[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hebb_rule": "abcd_l"}, "Unknown hebb_rule 'abcd_l'. Did you mean 'ABCD_lr'"),
        ({"init_weights": "unifrom"}, "Did you mean 'uniform'"),
        ({"normalize": "maximum"}, "Did you mean 'max'"),
        ({"output": "tan"}, "Did you mean 'tanh'"),
        ({"coefficients": "norm"}, "Did you mean 'normal'"),
        ({"coefficient_scale": -1.0}, "coefficient_scale=-1.0 must be a finite number of at least 0"),
        ({"hidden_sizes": 64}, "hidden_sizes=64 must be a list of positive integers"),
        ({"hidden_sizes": [64, 0]}, "must be a list of positive integers"),
        ({"rule": "A"}, "has no option 'rule'"),
    ],
)
def test_bad_options_are_refused_with_the_nearest(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        make_network("HebbianPolicy", 3, 2, **options)
    assert sentence in str(error.value)
