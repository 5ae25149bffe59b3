"""Networks for images: two convolutions before a network for vectors."""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from policies.population.types import Carry, PopulationNetwork

SIDE = 84
"""Images are resized to this height and width."""
FEATURES = 648
"""Numbers that the convolutions make of an image."""


@dataclass(frozen=True)
class Convolutional:
    """The convolutions of arXiv 2007.02686 before `head`, a network that takes `FEATURES` numbers.

    An image (H, W, C), values 0 to 255, is resized as a whole to 84 x 84 (bilinear) and divided by 255; 6 kernels 3 x 3,
    tanh, maximum of 2 x 2; 8 kernels 5 x 5 in strides of 2, tanh, maximum of 2 x 2; flattened channel by channel. No
    biases. The kernels, 54 C + 1200 numbers, are parameters like the head's and never change within an episode. They
    start with variance 1 / inputs: the published N(0, 1) would saturate every feature.

    Parameters: {"kernels": ((3, 3, C, 6), (5, 5, 6, 8)), "head": the head's}; the carry is the head's.
    """

    one_bit: ClassVar[bool] = False

    observation_shape: tuple[int, int, int]
    head: PopulationNetwork

    @property
    def action_size(self) -> int:
        return self.head.action_size

    def init(self, key: jax.Array) -> dict[str, Any]:
        first, second, head = jax.random.split(key, 3)
        kernels = (_kernel(first, 3, self.observation_shape[2], 6), _kernel(second, 5, 6, 8))
        return {"kernels": kernels, "head": self.head.init(head)}

    def initial_carry(self, key: jax.Array) -> Carry:
        return self.head.initial_carry(key)

    def apply(self, params: dict[str, Any], carry: Carry, obs: jax.Array) -> tuple[Carry, jax.Array]:
        return self.head.apply(params["head"], carry, features(params["kernels"], obs))

    def metrics(self, carry: Carry) -> dict[str, jax.Array]:
        return self.head.metrics(carry)


def features(kernels: tuple[jax.Array, jax.Array], image: jax.Array) -> jax.Array:
    """What the convolutions see in an image (H, W, C): (FEATURES,) in [-1, 1]."""
    first, second = kernels
    x = jnp.moveaxis(resize(image.astype(jnp.float32), SIDE) / 255.0, -1, 0)
    x = jnp.tanh(convolve_and_pool(x, first, 1))  # tanh rises, so it may follow the maximum and be computed less often
    return jnp.tanh(convolve_and_pool(x, second, 2)).reshape(FEATURES)


def resize(image: jax.Array, side: int) -> jax.Array:
    """(H, W, C) -> (side, side, C), bilinear between pixel centres, without smoothing (OpenCV's INTER_LINEAR)."""
    if image.shape[:2] == (side, side):
        return image

    def along_rows(x: jax.Array) -> jax.Array:
        place = np.clip((np.arange(side) + 0.5) * x.shape[0] / side - 0.5, 0, x.shape[0] - 1)
        above = np.floor(place).astype(int)
        below = np.minimum(above + 1, x.shape[0] - 1)
        share = (place - above).astype(np.float32)[:, None, None]
        return x[above] * (1.0 - share) + x[below] * share

    return jnp.swapaxes(along_rows(jnp.swapaxes(along_rows(image), 0, 1)), 0, 1)


def convolve_and_pool(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Maximum over blocks of 2 x 2 of a convolution without padding: (C, H, W), (K, K, C, O) -> (O, H', W').

    An odd last row or column of the convolution is left out. Written out input by input: when every member has a kernel of
    its own, XLA's convolution on CPUs is many times slower, and rounds differently in batches of another size. The four
    places of a block are four convolutions of the image taken apart at `step` pixels, so that all reads are of neighbours.
    """
    size, _, inputs, outputs = kernel.shape
    height, width = (((n - size) // stride + 1) // 2 for n in x.shape[1:])
    step = 2 * stride
    apart = {(p, q): x[:, p::step, q::step] for p, q in itertools.product(range(step), repeat=2)}
    largest = jnp.full((outputs, height, width), -jnp.inf)
    for down, right in itertools.product(range(2), repeat=2):
        total = jnp.zeros((outputs, height, width))
        for i, j, c in itertools.product(range(size), range(size), range(inputs)):
            (row, p), (column, q) = divmod(stride * down + i, step), divmod(stride * right + j, step)
            total += apart[p, q][c, row : row + height, column : column + width] * kernel[i, j, c][:, None, None]
        largest = jnp.maximum(largest, total)
    return largest


def _kernel(key: jax.Array, size: int, inputs: int, outputs: int) -> jax.Array:
    return jax.random.normal(key, (size, size, inputs, outputs)) / np.sqrt(size * size * inputs)
