"""Hebbian rules: how a connection changes with what the two neurons that it joins do, as arithmetic on arrays."""

import math
from collections.abc import Mapping
from typing import Any

Array = Any  # a NumPy, JAX or torch array: only Python operators are used on it

RULES: dict[str, tuple[str, ...]] = {
    "A": ("A",),
    "AD": ("A", "D"),
    "AD_lr": ("A", "D", "eta"),
    "ABC": ("A", "B", "C"),
    "ABC_lr": ("A", "B", "C", "eta"),
    "ABCD": ("A", "B", "C", "D"),
    "ABCD_lr": ("A", "B", "C", "eta", "D"),
    "ABCD_lr_D_out": ("A", "B", "C", "eta", "D_out"),
    "ABCD_lr_D_in_and_out": ("A", "B", "C", "eta", "D", "D_out"),
}
"""Rule -> the coefficients that each connection has, in the order of the columns of the published files."""

NORMALIZATIONS = ("max", "clip", "none")
"""After a step, each layer's weights are divided by the largest of their magnitudes, clipped to [-1, 1], or left alone."""


def weight_change(c: Mapping[str, Array], pre: Array, post: Array) -> Array:
    """What one step adds to the weights (Najarro & Risi, NeurIPS 2020, arXiv 2007.02686, ABCD and its relatives):

        dw_ij = eta_ij * (A_ij o_i o_j + B_ij o_i + C_ij o_j + D_ij) + D_out_ij

    What a rule has no coefficient for is left out; without eta the bracket is added as it is.

    :param c: coefficients by name (see `RULES`), each of the shape of the weights, (..., inputs, outputs)
    :param pre: activities o_i of the neurons before the connections, (..., inputs, 1)
    :param post: activities o_j of the neurons behind them, (..., 1, outputs)
    """
    change = c["A"] * pre * post
    if "B" in c:
        change = change + c["B"] * pre
    if "C" in c:
        change = change + c["C"] * post
    if "D" in c:
        change = change + c["D"]
    if "eta" in c:
        change = c["eta"] * change
    if "D_out" in c:
        change = change + c["D_out"]
    return change


def initial_weights(name: str, inputs: int, outputs: int) -> tuple[str, float]:
    """How a layer's weights are drawn at the start of an episode: ("uniform", b) from [-b, b], ("normal", s) with standard
    deviation s, ("sparse", s) likewise but four fifths of them 0, or ("constant", c).

    :param name: one of `INITIAL_WEIGHTS`
    """
    bounds = {
        "uniform": ("uniform", 0.1),
        "normal": ("normal", 0.024),
        "uniform_big": ("uniform", 1.0),
        "xavier": ("uniform", 0.3 * math.sqrt(6.0 / (inputs + outputs))),
        "xavier_big": ("uniform", math.sqrt(6.0 / (inputs + outputs))),
        "kaiming": ("uniform", math.sqrt(0.6 / inputs)),
        "default": ("uniform", math.sqrt(1.0 / inputs)),
        "sparse": ("sparse", 0.01),
        "ones": ("constant", 1.0),
        "zeros": ("constant", 0.0),
    }
    return bounds[name]


INITIAL_WEIGHTS = (
    "uniform", "normal", "uniform_big", "xavier", "xavier_big", "kaiming", "default", "sparse", "ones", "zeros", "coevolve",
)  # fmt: skip
"""Names of the distributions; "coevolve" means that the initial weights are evolved with the rules, the same each episode."""
