"""Hebbian rules against a plain triple loop written from their table."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from policies.equations.plasticity import INITIAL_WEIGHTS, RULES, initial_weights, weight_change

PUBLISHED = {  # a, b: activities before and behind; the coefficients in the published order of columns
    "A": lambda a, b, A: A * a * b,
    "AD": lambda a, b, A, D: A * a * b + D,
    "AD_lr": lambda a, b, A, D, eta: eta * (A * a * b + D),
    "ABC": lambda a, b, A, B, C: A * a * b + B * a + C * b,
    "ABC_lr": lambda a, b, A, B, C, eta: eta * (A * a * b + B * a + C * b),
    "ABCD": lambda a, b, A, B, C, D: A * a * b + B * a + C * b + D,
    "ABCD_lr": lambda a, b, A, B, C, eta, D: eta * (A * a * b + B * a + C * b + D),
    "ABCD_lr_D_out": lambda a, b, A, B, C, eta, D: eta * (A * a * b + B * a + C * b) + D,
    "ABCD_lr_D_in_and_out": lambda a, b, A, B, C, eta, D_in, D_out: eta * (A * a * b + B * a + C * b + D_in) + D_out,
}
MEMBERS, INPUTS, OUTPUTS = 3, 4, 5


def test_every_published_rule_is_there() -> None:
    assert RULES.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("rule", RULES)
def test_rules_follow_a_triple_loop_in_every_engine(rule: str) -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(len(RULES[rule]), MEMBERS, INPUTS, OUTPUTS))
    pre, post = rng.normal(size=(MEMBERS, INPUTS)), rng.normal(size=(MEMBERS, OUTPUTS))
    expected = np.zeros((MEMBERS, INPUTS, OUTPUTS))
    for m in range(MEMBERS):
        for i in range(INPUTS):
            for j in range(OUTPUTS):
                expected[m, i, j] = PUBLISHED[rule](pre[m, i], post[m, j], *table[:, m, i, j])
    for engine in (np.asarray, torch.as_tensor, jnp.asarray):
        c = {name: engine(column.astype(np.float32)) for name, column in zip(RULES[rule], table, strict=True)}
        a, b = engine(pre.astype(np.float32)), engine(post.astype(np.float32))
        np.testing.assert_allclose(np.asarray(weight_change(c, a[:, :, None], b[:, None, :])), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "kind", "scale"),
    [
        ("uniform", "uniform", 0.1),
        ("uniform_big", "uniform", 1.0),
        ("xavier", "uniform", 0.3 * torch.nn.init.calculate_gain("linear") * (6 / 96) ** 0.5),
        ("xavier_big", "uniform", (6 / 96) ** 0.5),
        ("kaiming", "uniform", torch.nn.init.calculate_gain("leaky_relu", 3) * (3 / 64) ** 0.5),
        ("default", "uniform", torch.nn.init.calculate_gain("leaky_relu", 5**0.5) * (3 / 64) ** 0.5),
        ("normal", "normal", 0.024),
        ("sparse", "sparse", 0.01),
        ("ones", "constant", 1.0),
        ("zeros", "constant", 0.0),
    ],
)
def test_distributions_of_initial_weights_are_torchs(name: str, kind: str, scale: float) -> None:
    assert name in INITIAL_WEIGHTS
    assert initial_weights(name, 64, 32) == (kind, pytest.approx(scale, rel=1e-6))
