"""What a covariance matrix may be: pycma's options for it, and the variables that pycma keeps of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import cma
import numpy as np
from cma.restricted_gaussian_sampler import ExponentialMovingAverage, GaussVDSampler, GaussVkDSampler
from cma.transformations import DiagonalDecoding

MOST_VECTORS = 16  # of VkD-CMA, which takes 2 N iterations to add one
DEGENERATE = 1e7  # ratio of standard deviations; its square leaves no digits of float64 to covariances
Fields = dict[str, Callable[[Any], Any]]
AVERAGES = ("sm.ema_log_sigma", "sm.ema_log_d", "sm.ema_log_s")


@dataclass(frozen=True)
class Variant:
    """One form of covariance matrix.

    `fields` are the variables that change from one iteration to the next and that the next one depends on, by their path
    from a CMAEvolutionStrategy, each with its type.
    """

    fields: Fields
    kept: Callable[[int], int]
    """Number of parameters N -> float64 that the matrix is kept in."""
    options: dict[str, Any] = field(default_factory=dict)
    """Those of CMAEvolutionStrategy that make it."""
    fewest: int = 1
    """Parameters that it takes at least."""


def _fields(owner: str, arrays: str, **scalars: str) -> Fields:
    """Names in one string, with spaces between them, by their type."""
    kinds: Fields = {"int": int, "float": float, "bool": bool}
    typed: list[tuple[str, Callable[[Any], Any]]] = [(name, np.array) for name in arrays.split()]
    typed += [(name, kinds[kind]) for kind, names in scalars.items() for name in names.split()]
    return {f"{owner}{name}": kind for name, kind in typed}


_BASE = _fields("", "mean mean_old pc adapt_sigma.ps", float="sigma", int="countiter")
_EIGEN = _fields("sm.", "C B D", int="count_tell count_eigen last_update")
_VD = _fields("sm.", "dvec vvec pc vn vnn", float="norm_v norm_v2")
_VKD = _fields(
    "sm.",
    "V S D pc dx last_log_d last_log_cond_corr",
    float="sigma sigma_fac ps opt_conv last_log_sigma",
    int="k k_active itr_after_k_inc",
    bool="flg_injection",
)
for _average in AVERAGES:
    _VKD |= _fields(f"{_average}.", "M S", float="decay")

VARIANTS = {
    "full": Variant(_BASE | _EIGEN, lambda n: 2 * n * n),
    "vd": Variant(_BASE | _VD, lambda n: 5 * n, GaussVDSampler.extend_cma_options(), fewest=10),
    "vkd": Variant(_BASE | _VKD, lambda n: (MOST_VECTORS + 10) * n, GaussVkDSampler.extend_cma_options(), fewest=2),
    "sep": Variant(_BASE | {"sigma_vec": DiagonalDecoding}, lambda n: n, {"CMA_diagonal": True}),
}


def make(variant: Variant, start: np.ndarray, sigma0: float, population: int, draws: Callable[..., np.ndarray]) -> Any:
    """A CMAEvolutionStrategy that draws its normal numbers, of a shape, from `draws`, and is silent."""
    sampler_options: dict[str, Any] = {}
    if "CMA_sampler" in variant.options:
        sampler_options["randn"] = draws
    if variant.options.get("CMA_sampler") is GaussVkDSampler:
        sampler_options["kmax"] = _most_vectors(len(start))
    options = {
        "popsize": population,
        "randn": draws,
        "seed": np.nan,  # pycma's way to leave NumPy's own generator alone
        "verbose": -9,
        "verb_log": 0,
        "CMA_mirrors": 0,
        "CMA_stds": np.ones(len(start)),
        "CMA_sampler_options": sampler_options,
        "conditioncov_alleviate": False,  # it would turn the space that is searched, which `read` does not see
        "AdaptSigma": cma.sigma_adaptation.CMAAdaptSigmaCSA,
    }
    search = cma.CMAEvolutionStrategy(start, sigma0, options | variant.options)
    search.timer = cma.utilities.utils.ElapsedWCTime()  # pycma starts it in its first iteration alone
    return search


def read(variant: Variant, search: Any) -> dict[str, np.ndarray]:
    """The variables as float64 arrays of shapes that never change; zeros where pycma has none yet."""
    found = {}
    for path, kind in variant.fields.items():
        value = _get(search, path)
        if value is None:
            value = np.zeros(1 if kind is not np.array or path.startswith(AVERAGES[0]) else search.N)
        found[path] = np.array(np.atleast_1d(np.asarray(value, np.float64)), order="C")
    if "sm.V" in found:
        missing = _most_vectors(search.N) - len(found["sm.V"])
        found["sm.V"] = np.pad(found["sm.V"], ((0, missing), (0, 0)))
    return found


def write(variant: Variant, search: Any, values: dict[str, np.ndarray]) -> None:
    """Undo `read`, in a search that `make` has made with the same arguments."""
    begun = values["countiter"][0] > 0
    if begun and "sm.V" in values:
        for path in AVERAGES:
            setattr(search.sm, path.removeprefix("sm."), ExponentialMovingAverage(0.0, 1))
    for path, kind in variant.fields.items():
        if begun or _get(search, path) is not None:
            owner, _, name = path.rpartition(".")
            value = values[path] if kind in (np.array, DiagonalDecoding) else values[path][0]
            setattr(attrgetter(owner)(search) if owner else search, name, kind(value))
    if "sm.V" in values:
        search.sm.V = search.sm.V[: search.sm.k]


def settle(search: Any) -> None:
    """Do now what pycma would do to its matrix before it samples, so that it need not be done twice."""
    if isinstance(search.sm, cma.sampler.GaussFullSampler):
        search.sm.update_now()


def degenerate(search: Any) -> bool:
    """Whether the distribution is too flat or too large to be computed with."""
    deviations = search.stds
    if isinstance(search.sm, cma.sampler.GaussFullSampler):
        deviations = np.append(deviations, search.sigma * search.sm.D)
    return not (np.isfinite(deviations).all() and 0 < deviations.max() < DEGENERATE * deviations.min())


def _most_vectors(parameters: int) -> int:
    return min(MOST_VECTORS, parameters - 1)


def _get(search: Any, path: str) -> Any:
    try:
        return attrgetter(path)(search)
    except AttributeError:
        return None
