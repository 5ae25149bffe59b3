"""Networks and optimisers of torch as arrays of a checkpoint."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from trainers.checkpoint import CheckpointError


def module_arrays(module: nn.Module, prefix: str = "model") -> dict[str, np.ndarray]:
    """Parameters and buffers by name."""
    return {f"{prefix}/{name}": value.cpu().numpy() for name, value in module.state_dict().items()}


def load_module(module: nn.Module, arrays: dict[str, np.ndarray], path: Path | str, prefix: str = "model") -> None:
    """Put arrays into a module of the same shape; `CheckpointError` for another one's."""
    state = {
        name.removeprefix(f"{prefix}/"): torch.from_numpy(value)
        for name, value in arrays.items()
        if name.startswith(f"{prefix}/")
    }
    try:
        nn.Module.load_state_dict(module, state)
    except RuntimeError as error:
        raise CheckpointError(f"'{path}' holds another network: {str(error).splitlines()[1].strip()}") from error


def optimizer_arrays(optimizer: torch.optim.Optimizer, prefix: str = "optimizer") -> dict[str, np.ndarray]:
    """What the optimiser remembers of each parameter."""
    return {
        f"{prefix}/{i}/{name}": value.cpu().numpy()
        for i, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, arrays: dict[str, np.ndarray], prefix: str = "optimizer") -> None:
    """Let it go on where `optimizer_arrays` was called."""
    kept: dict[int, dict[str, Tensor]] = {}
    for name, array in arrays.items():
        if name.startswith(f"{prefix}/"):
            i, key = name.removeprefix(f"{prefix}/").split("/")
            kept.setdefault(int(i), {})[key] = torch.from_numpy(array)
    optimizer.load_state_dict(optimizer.state_dict() | {"state": kept})
