"""The only place that imports Brax, both generations of it: repaired for current JAX, and quietly."""

import contextlib
import importlib
import io
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType


def import_v1() -> ModuleType:
    """`brax.v1.envs`, repaired for current JAX and without the notices of the packages it drags in."""
    if "brax.v1.envs" not in sys.modules:
        import jax._src.interpreters.batching as home
        from jax.interpreters import batching

        if not hasattr(batching, "BatchTracer"):  # brax.v1 looks for it where it was until JAX 0.4
            batching.BatchTracer = home.BatchTracer  # type: ignore[attr-defined]
        _import_quietly("brax.v1.envs")
        # It asks JAX a deprecated question whenever it is traced; the user can do nothing about it.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"brax\.v1\.jumpy")
    return sys.modules["brax.v1.envs"]


def import_v2() -> ModuleType:
    """`brax.envs`, the generation with generalized, spring, positional and MJX physics."""
    if "brax.envs" not in sys.modules:
        _import_quietly("brax.envs")
    return sys.modules["brax.envs"]


def _import_quietly(name: str) -> None:
    """Import a third-party module, swallowing what it and its dependencies print and warn meanwhile."""
    with quiet():
        importlib.import_module(name)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing printed, nothing warned; the user's own warning filters come back afterwards."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
