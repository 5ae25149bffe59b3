"""A learner in the middle of a task as arrays of a checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainers.continual.sac import ContinualSAC
from trainers.torch_state import load_module, load_optimizer, module_arrays, optimizer_arrays

STORED = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
"""Arrays of Stable-Baselines3's replay buffer."""
OPTIMIZERS = ("actor", "critic", "temperature")


def learner_arrays(learner: ContinualSAC) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Critics, temperature, optimisers and what is in the replay buffer; and in JSON how full that is. The actor is the
    method's, and saved with it."""
    buffer: Any = learner.replay_buffer
    filled = len(buffer.observations) if buffer.full else buffer.pos
    arrays = {f"buffer/{name}": getattr(buffer, name)[:filled] for name in STORED}
    arrays |= module_arrays(learner.critic, "critic") | module_arrays(learner.critic_target, "critic_target")
    for name in OPTIMIZERS:
        arrays |= optimizer_arrays(_optimizer(learner, name), f"optimizer/{name}")
    assert learner.log_ent_coef is not None
    arrays["log_temperature"] = learner.log_ent_coef.detach().cpu().numpy()
    return arrays, {"position": buffer.pos, "full": buffer.full, "updates": learner._n_updates}


def restore_learner(learner: ContinualSAC, arrays: dict[str, np.ndarray], told: dict[str, Any], path: Path) -> None:
    """Undo `learner_arrays`."""
    buffer: Any = learner.replay_buffer
    for name in STORED:
        getattr(buffer, name)[: len(arrays[f"buffer/{name}"])] = arrays[f"buffer/{name}"]
    buffer.pos, buffer.full, learner._n_updates = told["position"], told["full"], told["updates"]
    load_module(learner.critic, arrays, path, "critic")
    load_module(learner.critic_target, arrays, path, "critic_target")
    assert learner.log_ent_coef is not None
    learner.log_ent_coef.data.copy_(torch.from_numpy(arrays["log_temperature"]))
    for name in OPTIMIZERS:
        load_optimizer(_optimizer(learner, name), arrays, f"optimizer/{name}")


def _optimizer(learner: ContinualSAC, name: str) -> torch.optim.Optimizer:
    found = learner.ent_coef_optimizer if name == "temperature" else getattr(learner, name).optimizer
    assert found is not None
    return found
