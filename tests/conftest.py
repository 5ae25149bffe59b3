"""JAX is set up once, before any test uses it, and compiled programs are shared between tests and test processes."""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

CACHE = Path(tempfile.gettempdir()) / f"spikegym-test-cache-{os.getuid()}"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.0")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's threads of test processes side by side wait for each other

from trainers.devices import use_all_cores  # noqa: E402

use_all_cores()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What is drawn without a generator of its own hangs on no test before."""
    np.random.seed(0)  # noqa: NPY002, Stable-Baselines3 draws batches from it
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
