"""Where runs take place: each has some cores and, where there are GPUs, one of them."""

import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass, field

IDLE_MB = 500
"""A GPU on which at most this much memory is taken is free."""


@dataclass(frozen=True)
class Slot:
    """Room for one run.

    :param cores: numbers of the cores it may use
    :param variables: of its environment
    """

    cores: tuple[int, ...]
    variables: dict[str, str] = field(default_factory=dict)


def make_slots(jobs: int | None, cores_per_run: int | None) -> list[Slot]:
    """Room for `jobs` runs at once: by default one for each free GPU or, where there is none, for every two cores.

    Each gets `cores_per_run` cores, by default an equal share; runs share cores and GPUs when there are too few.
    """
    for name, value in (("jobs", jobs), ("cores_per_run", cores_per_run)):
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} must be at least 1.")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    gpus = free_gpus()
    if jobs is None:
        jobs = len(gpus) or max(1, len(cores) // (cores_per_run or 2))
    width = min(cores_per_run or max(1, len(cores) // jobs), len(cores))
    slots = []
    for i in range(jobs):
        mine = tuple(sorted(cores[(i * width + k) % len(cores)] for k in range(width)))
        variables = {"OMP_NUM_THREADS": str(width)}
        if gpus:
            sharing = -(-jobs // len(gpus))
            variables |= {
                "CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)],
                "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 / sharing:.3f}",
            }
        slots.append(Slot(mine, variables))
    return slots


def free_gpus() -> list[str]:
    """NVIDIA GPUs that JAX can use and nobody does, of those in CUDA_VISIBLE_DEVICES if that is set."""
    plugged = any(importlib.util.find_spec(f"jax_cuda{n}_plugin") for n in (12, 13))
    if not plugged or shutil.which("nvidia-smi") is None:
        return []
    line = ["nvidia-smi", "--query-gpu=index,uuid,memory.used", "--format=csv,noheader,nounits"]
    listed = subprocess.run(line, capture_output=True, text=True)
    if listed.returncode != 0:
        return []
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    free = []
    for row in listed.stdout.strip().splitlines():
        index, uuid, used = (cell.strip() for cell in row.split(","))
        if (allowed is None or {index, uuid} & set(allowed.split(","))) and float(used) <= IDLE_MB:
            free.append(index)
    return free
