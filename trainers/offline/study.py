"""All stages of an offline study in one folder; what is there already is not done again."""

import dataclasses
from pathlib import Path
from typing import Any

from trainers.make_env import find_env_id
from trainers.offline.behavior import train_behavior
from trainers.offline.collect import dataset_exists, run_collection
from trainers.offline.config import (
    BehaviorConfig,
    CollectConfig,
    EvaluateConfig,
    StudyConfig,
    options_of,
    read_config,
    train_defaults,
)
from trainers.offline.dataset import OfflineDataset, load_dataset
from trainers.offline.evaluate import evaluate
from trainers.offline.run import train
from trainers.progress import INTERRUPTED


def run_study(config: StudyConfig) -> int:
    """Exit code: 0, or 130 after Ctrl-C."""
    env_id, root = find_env_id(config.env), Path(config.folder)
    for mode in config.modes:
        options_of(train_defaults(env_id, mode))
    acting = root / "behavior"
    if not (acting / "model.zip").is_file():
        behavior = BehaviorConfig(env_id, config.algo, config.behavior_steps, progress=config.progress)
        if train_behavior(behavior, acting)[1]:
            return INTERRUPTED
    name = f"{env_id}/{config.algo}-{root.name}-v0"
    if not dataset_exists(name):
        code = run_collection(CollectConfig(str(acting), name, steps=config.steps, progress=config.progress))[1]
        if code:
            return code
    dataset: OfflineDataset | None = None
    runs = []
    for mode in config.modes:
        for seed in config.seeds:
            folder = root / mode / f"seed_{seed}"
            runs.append(str(folder))
            if (folder / "model.zip").is_file():
                continue
            dataset = dataset or load_dataset(name)
            begun = (folder / "config.yml").is_file()
            run = read_config(folder) if begun else train_defaults(env_id, mode)
            changes: dict[str, Any] = {"dataset": name, "seed": seed, "progress": config.progress}
            changes |= {"resume": str(folder)} if begun else {"folder": str(folder)}
            changes |= {"gradient_steps": config.gradient_steps} if config.gradient_steps else {}
            if train(dataclasses.replace(run, **changes), dataset)[1]:
                return INTERRUPTED
    evaluate(EvaluateConfig(tuple(runs), out=str(root)))
    return 0
