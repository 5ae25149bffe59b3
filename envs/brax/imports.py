"""The only place that imports Brax, both generations of it."""

import contextlib
import io
import sys
import warnings
from types import ModuleType


def import_v1() -> ModuleType:
    """`brax.v1.envs`, repaired for current JAX and without the notices of the packages it drags in."""
    import jax._src.interpreters.batching as home
    from jax.interpreters import batching

    if not hasattr(batching, "BatchTracer"):  # brax.v1 looks for it where it was until JAX 0.4
        batching.BatchTracer = home.BatchTracer  # type: ignore[attr-defined]
    with _quiet():
        import brax.v1.envs
    # It asks JAX a deprecated question whenever it is traced; the user can do nothing about it.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"brax\.v1\.jumpy")
    return sys.modules["brax.v1.envs"]


def import_v2() -> ModuleType:
    """`brax.envs`, the generation with generalized, spring, positional and MJX physics."""
    with _quiet():
        import brax.envs
    return sys.modules["brax.envs"]


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]
    """Swallow what third-party modules print and warn while they are imported."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
