"""Convolutions and action bounds of population networks against torch and plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from policies.population import make_network
from policies.population.conv import FEATURES, SIDE, convolve_and_pool, features, resize

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(96, 96, 3), (210, 160, 1), (30, 50, 3), (84, 84, 2)])
def test_resize_is_bilinear_between_pixel_centres(shape: tuple) -> None:
    image = RNG.uniform(0, 255, shape).astype(np.float32)
    batch = torch.as_tensor(image).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(batch, (SIDE, SIDE), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(resize(jnp.asarray(image), SIDE), expected[0].permute(1, 2, 0), atol=1e-2)


@pytest.mark.parametrize(("size", "stride", "side"), [(3, 1, 8), (3, 1, 9), (5, 2, 13), (5, 2, 15), (5, 2, 18)])
def test_convolution_and_pooling_follow_plain_loops(size: int, stride: int, side: int) -> None:
    x, kernel = RNG.normal(size=(side, side, 2)), RNG.normal(size=(size, size, 2, 3))
    out = (side - size) // stride + 1
    expected = np.zeros((out, out, 3))
    for i in range(out):
        for j in range(out):
            patch = x[stride * i : stride * i + size, stride * j : stride * j + size]
            for o in range(3):
                expected[i, j, o] = (patch * kernel[..., o]).sum()
    half = out // 2
    pooled = [[expected[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max((0, 1)) for j in range(half)] for i in range(half)]
    image = jnp.asarray(np.moveaxis(x, -1, 0), jnp.float32)
    given = convolve_and_pool(image, jnp.asarray(kernel, jnp.float32), stride)
    np.testing.assert_allclose(np.moveaxis(given, 0, -1), pooled, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return RNG.integers(0, 256, (9, 96, 96, 3), dtype=np.uint8)


def test_features_are_torchs(images) -> None:
    network = make_network("CnnPolicy", (96, 96, 3), 3)
    kernels = network.init(jax.random.key(0))["kernels"]
    x = torch.as_tensor(images[:1]).permute(0, 3, 1, 2).float()
    x = torch.nn.functional.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False) / 255
    for kernel, stride in zip(kernels, (1, 2), strict=True):
        weight = torch.as_tensor(np.array(kernel)).permute(3, 2, 0, 1)
        x = torch.nn.functional.max_pool2d(torch.tanh(torch.nn.functional.conv2d(x, weight, stride=stride)), 2)
    given = features(kernels, jnp.asarray(images[0]))
    assert given.shape == (FEATURES,)
    np.testing.assert_allclose(given, x.flatten(), atol=1e-3)


@pytest.mark.parametrize("name", ["CnnPolicy", "HebbianCnnPolicy"])
def test_a_population_on_images_is_the_head_on_features_in_batches_of_any_size(name: str, images) -> None:
    network = make_network(name, (96, 96, 3), 3, hidden_sizes=[16])
    head = make_network(name.replace("Cnn", "" if "Hebbian" in name else "Mlp"), FEATURES, 3, hidden_sizes=[16],
                        **({} if "Hebbian" in name else {"bias": False}))  # fmt: skip
    keys = jax.random.split(jax.random.key(0), 9)
    params, carry = jax.vmap(network.init)(keys), jax.vmap(network.initial_carry)(keys)
    act = jax.jit(jax.vmap(network.apply))
    after, actions = act(params, carry, images)
    seen = jax.vmap(features)(params["kernels"], images)
    expected_after, expected = jax.vmap(head.apply)(params["head"], jax.vmap(head.initial_carry)(keys), seen)
    np.testing.assert_allclose(actions, expected, atol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), after, expected_after)
    few = act(*jax.tree.map(lambda x: x[:2], (params, carry)), images[:2])[1]
    np.testing.assert_array_equal(few, actions[:2])


def test_action_bounds() -> None:
    raw = make_network("MlpPolicy", 4, 3)
    params, obs = raw.init(jax.random.key(0)), 3 * jnp.arange(4.0)
    output = np.asarray(raw.apply(params, (), obs)[1], float)
    tanh = make_network("MlpPolicy", 4, 3, action_bounds="tanh").apply(params, (), obs)[1]
    np.testing.assert_allclose(tanh, np.tanh(output), rtol=1e-5)
    car = make_network("MlpPolicy", 4, 3, action_bounds="car_racing").apply(params, (), obs)[1]
    np.testing.assert_allclose(car[0], np.tanh(output[0]), rtol=1e-5)
    np.testing.assert_allclose((np.asarray(car[1:]) + 1) / 2, 1 / (1 + np.exp(-output[1:])), rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "observation", "options", "sentence"),
    [
        ("HebbianPolicy", (96, 96, 3), {}, "takes vectors, but the environment gives images; use HebbianCnnPolicy."),
        ("RSNNPolicy", (96, 96, 3), {}, "use CnnPolicy or HebbianCnnPolicy."),
        ("HebbianCnnPolicy", 4, {}, "takes images, but the environment gives vectors; use HebbianPolicy."),
        ("MlpPolicy", 4, {"action_bounds": "tahn"}, "Did you mean 'tanh'? Known: clip, tanh, car_racing"),
        ("MlpPolicy", 4, {"action_bounds": "car_racing"}, "this environment takes 2 actions"),
    ],
)
def test_networks_and_bounds_that_do_not_fit_are_refused(name: str, observation, options: dict, sentence: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        make_network(name, observation, 2, **options)
    assert sentence in str(error.value)
