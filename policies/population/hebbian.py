"""Networks whose connections change while they act, each by an evolved Hebbian rule of its own."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from policies.equations.plasticity import INITIAL_WEIGHTS, RULES, initial_weights, weight_change
from policies.names import choose
from policies.population.mlp import layer_shapes

Params = tuple[dict[str, jax.Array], ...]


def _divide_by_largest(weights: jax.Array) -> jax.Array:
    largest = jnp.max(jnp.abs(weights))
    return jnp.where(largest > 0, weights / largest, weights)


NORMALIZE: dict[str, Callable[[jax.Array], jax.Array]] = {
    "max": _divide_by_largest,
    "clip": lambda weights: jnp.clip(weights, -1.0, 1.0),
    "none": lambda weights: weights,
}
"""What happens to a layer's weights after each update; a layer of zeros stays one."""

OUTPUT: dict[str, Callable[[jax.Array], jax.Array]] = {"linear": lambda x: x, "tanh": jnp.tanh}
"""What the last layer makes of its input; it is the action, and the activity behind the last connections."""

COEFFICIENTS: dict[str, Callable[..., jax.Array]] = {
    "normal": jax.random.normal,
    "uniform": lambda key, shape: jax.random.uniform(key, shape, jnp.float32, -1.0, 1.0),
}
"""Distributions of what evolution starts from."""


class HebbianCarry(NamedTuple):
    """Weights of each layer, (inputs, outputs) float32, and whether the first step of the episode is over (bool)."""

    weights: tuple[jax.Array, ...]
    started: jax.Array


@dataclass(frozen=True)
class Hebbian:
    """Evolved learning rules in a network that starts every episode from random weights (arXiv 2007.02686).

    Layers of tanh units without biases and an `output` layer ("linear" or "tanh"; the published quadruped uses tanh).
    A step computes the action with the weights as they are, then changes all weights by what the neurons just did (see
    `equations.plasticity`), then normalises each layer ("max", "clip" or "none"). Reward never enters.

    Parameters: for each layer a dictionary from the rule's coefficients (`RULES[hebb_rule]`) to arrays (inputs, outputs),
    drawn from N(0, 1) or U(-1, 1) ("normal", "uniform") times `coefficient_scale`. Weights are state, drawn at the start
    of every episode (`init_weights`, see `INITIAL_WEIGHTS`); with "coevolve" each layer has one more array of parameters,
    "w", drawn as the coefficients are, and every episode starts from it.

    A member takes four bytes per connection and coefficient and four per connection for its weights: 28-128-64-8 has
    12,288 connections, with ABCD_lr 61,440 coefficients, 295 kB in all; 648-128-64-3 has 91,328, 456,640 and 2.2 MB.

    Raises ValueError for unknown names, sizes that are not positive, and a negative scale.
    """

    one_bit: ClassVar[bool] = False

    observation_size: int
    action_size: int
    hidden_sizes: tuple[int, ...] = (128, 64)
    hebb_rule: str = "ABCD_lr"
    init_weights: str = "uniform"
    normalize: str = "max"
    output: str = "linear"
    coefficients: str = "normal"
    coefficient_scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_sizes", tuple(outputs for _, outputs in self.shapes[:-1]))
        choose("hebb_rule", self.hebb_rule, RULES)
        choose("init_weights", self.init_weights, dict.fromkeys(INITIAL_WEIGHTS))
        choose("normalize", self.normalize, NORMALIZE)
        choose("output", self.output, OUTPUT)
        choose("coefficients", self.coefficients, COEFFICIENTS)
        if not 0 <= self.coefficient_scale < math.inf:
            raise ValueError(f"coefficient_scale={self.coefficient_scale} must be a finite number of at least 0.")

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each layer."""
        return layer_shapes(self.observation_size, self.hidden_sizes, self.action_size)

    def init(self, key: jax.Array) -> Params:
        names = RULES[self.hebb_rule] + (("w",) if self.init_weights == "coevolve" else ())
        draw = COEFFICIENTS[self.coefficients]

        def layer(key: jax.Array, shape: tuple[int, int]) -> dict[str, jax.Array]:
            keys = jax.random.split(key, len(names))
            return {name: self.coefficient_scale * draw(k, shape) for k, name in zip(keys, names, strict=True)}

        return tuple(layer(jax.random.fold_in(key, i), shape) for i, shape in enumerate(self.shapes))

    def initial_carry(self, key: jax.Array) -> HebbianCarry:
        if self.init_weights == "coevolve":  # they are parameters; the first step puts them in
            weights = tuple(jnp.zeros(shape) for shape in self.shapes)
        else:
            keys = jax.random.split(key, len(self.shapes))
            weights = tuple(_draw_weights(k, self.init_weights, *shape) for k, shape in zip(keys, self.shapes, strict=True))
        return HebbianCarry(weights, jnp.array(False))

    def apply(self, params: Params, carry: HebbianCarry, obs: jax.Array) -> tuple[HebbianCarry, jax.Array]:
        weights = carry.weights
        if self.init_weights == "coevolve":
            weights = tuple(jnp.where(carry.started, w, c["w"]) for c, w in zip(params, weights, strict=True))
        activities = [obs]
        for w in weights[:-1]:
            activities.append(jnp.tanh(activities[-1] @ w))
        activities.append(OUTPUT[self.output](activities[-1] @ weights[-1]))
        normalize = NORMALIZE[self.normalize]
        layers = zip(params, weights, activities[:-1], activities[1:], strict=True)
        changed = tuple(normalize(w + weight_change(c, pre[:, None], post[None, :])) for c, w, pre, post in layers)
        return HebbianCarry(changed, jnp.array(True)), activities[-1]

    def metrics(self, carry: HebbianCarry) -> dict[str, jax.Array]:
        """Mean magnitude of each layer's weights."""
        return {f"plastic/weight_{i}": jnp.mean(jnp.abs(w)) for i, w in enumerate(carry.weights)}


def _draw_weights(key: jax.Array, name: str, inputs: int, outputs: int) -> jax.Array:
    """Weights (inputs, outputs) from the distribution of that name."""
    kind, scale = initial_weights(name, inputs, outputs)
    shape = (inputs, outputs)
    if kind == "constant":
        return jnp.full(shape, scale, jnp.float32)
    if kind == "uniform":
        return jax.random.uniform(key, shape, jnp.float32, -scale, scale)
    value_key, kept_key = jax.random.split(key)
    weights = scale * jax.random.normal(value_key, shape)
    return weights * jax.random.bernoulli(kept_key, 0.2, shape) if kind == "sparse" else weights
