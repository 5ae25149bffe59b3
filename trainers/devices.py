"""How JAX is set up for rollouts on CPU."""

import os
import warnings
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

FLAGS = (
    # Unrolled loops treat the last elements of an array apart and round them differently, so that an episode would
    # depend on the lane it is played in.
    "--xla_backend_extra_options=xla_cpu_disable_loop_unrolling",
    "--xla_cpu_prefer_vector_width=512",
    "--xla_cpu_copy_insertion_use_region_analysis=true",  # fewer copies in loops: physics of few episodes is faster
)


def use_all_cores() -> None:
    """Make every CPU core a JAX device, before JAX computes anything; without effect on accelerators.

    A device a core is two to three times faster than one device with a pool of threads, because Brax's operations are
    too small to share out. There are always at least two, since programs for one device are compiled differently and
    round differently: with two or more, results are the same on any number of cores. Flags that the user has set in
    XLA_FLAGS win. Warns when JAX has been used already and it is too late.
    """
    given = os.environ.get("XLA_FLAGS", "")
    added = [flag for flag in FLAGS if flag.split("=")[0] not in given]
    if _initialised():
        if jax.default_backend() == "cpu" and jax.local_device_count() < 2:
            warnings.warn(
                "JAX was used before spikegym could give it every core: rollouts run on one device. Create the algorithm "
                "(or call trainers.devices.use_all_cores()) before any other JAX computation.",
                stacklevel=3,
            )
        return
    os.environ["XLA_FLAGS"] = " ".join([given, *added]).strip()
    jax.config.update("jax_num_cpu_devices", max(2, count_cores()))


def count_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_all_devices(tree: Any) -> Any:
    """Arrays copied to every local device, where programs that are spread over the devices expect them."""
    mesh = Mesh(np.array(jax.local_devices()), ("device",))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def _initialised() -> bool:
    """Whether JAX has chosen its devices, after which they cannot change."""
    try:
        jax.config.update("jax_num_cpu_devices", jax.config.values["jax_num_cpu_devices"])
    except RuntimeError:
        return True
    return False
