"""How much memory a covariance matrix takes, and which one fits."""

import os
from pathlib import Path

from trainers.strategies.cma_variants import VARIANTS

MOST_PARAMETERS = 3000  # up to which the eigenvectors of a full matrix, N^3, are a matter of seconds
PREFERENCE = ("full", "vd", "sep")


def needed_bytes(variant: str, parameters: int, population: int, iteration: int, devices: int) -> int:
    """Estimate of the memory that a search takes beside the rollouts.

    :param population: members of a generation, which each of JAX's `devices` holds, as it does the state
    :param iteration: members of an iteration, more than of a generation after restarts
    """
    drawn = 6 * 8 * iteration * parameters  # drawn, listed, sorted, centred, scaled
    kept = 4 * (1 + devices) * population * parameters
    matrix = 8 * VARIANTS[variant].kept(parameters) * (4 + devices)  # with the workspace of an eigendecomposition
    vectors = 8 * parameters * (30 + 5 * devices)
    return drawn + kept + matrix + vectors


def available_bytes() -> int:
    """Memory that this process can have without swapping, within the limit of its control group."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not Linux
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    group = Path("/sys/fs/cgroup")
    try:
        return min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):  # no group, or no limit
        return free


def pick_variant(
    variant: str, parameters: int, population: int, iteration: int, devices: int, available: int
) -> tuple[str, str]:
    """The variant itself, or for "auto" the first of full, vd and sep that fits half the memory, and a sentence on why.

    ValueError when it does not fit, or takes more parameters than there are.
    """

    def gigabytes(name: str) -> float:
        return needed_bytes(name, parameters, population, iteration, devices) / 1e9

    room = available / 1e9
    reasons = []
    for name in PREFERENCE if variant == "auto" else (variant,):
        needed, share = gigabytes(name), 0.5 if variant == "auto" else 1.0
        if parameters < VARIANTS[name].fewest:
            reasons.append(f"{name} takes at least {VARIANTS[name].fewest} parameters")
        elif needed > share * room:
            reasons.append(f"{name} would need {needed:.2g} GB")
        elif variant == "auto" and name == "full" and parameters > MOST_PARAMETERS:
            reasons.append(f"the eigenvectors of a full matrix would take long ({needed:.2g} GB)")
        else:
            why = f" because {' and '.join(reasons)}" if reasons else ""
            return name, (
                f"CMA-ES of {parameters:,} parameters, {population} members: variant '{name}'{why}; it needs about "
                f"{needed:.2g} of {room:.2g} GB available."
            )
    raise ValueError(
        f"CMA-ES of {parameters:,} parameters, {iteration} members, does not fit: {' and '.join(reasons)}, of {room:.2g} GB "
        "available. Use another variant ('sep' is the smallest), fewer members, or fewer restarts."
    )
