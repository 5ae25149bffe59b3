"""Movements of the two-joint arm as a torch dataset: joint velocities to the path of the tip, or back."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from envs.robot_arm.generator import make_generator
from policies.names import choose

FIRST_SEED = {"test": 3000, "validation": 4000, "train": 5000}
"""Of each split's own range of a thousand seeds; with seed 0 the test set of the "published" preset is the published one."""
DIRECTIONS = {"forward": ("omega", "xy"), "inverse": ("xy", "omega")}
"""What is given and what is to be found."""


class RobotTrajectoryDataset(Dataset[tuple[Tensor, Tensor]]):
    """Random movements: item i is (inputs, targets), float32 (T, 2) each; a list of items gives (T, B, 2).

    "forward": joint velocities omega in rad/s -> tip x, y. "inverse": tip -> velocities.
    `scaling="minmax"` stretches x and y of every movement to [1, 10], as the published study does; that needs the movement's
    future, so that no causal network can be exact. "fixed" leaves them in units of the links' lengths.

    :param split: "train", "validation" or "test": random numbers of seeds that no other split uses
    :param n_samples: number of movements
    :param direction: "forward" or "inverse"
    :param preset: a preset of `envs.robot_arm.generator`: "env", "eprop" or "published"
    :param scaling: "minmax" or "fixed"
    :param seed: 0 to 999, chooses the movements
    """

    def __init__(
        self,
        split: str = "train",
        n_samples: int = 1000,
        direction: str = "forward",
        preset: str = "env",
        scaling: str = "fixed",
        seed: int = 0,
    ) -> None:
        first = choose("split", split, FIRST_SEED)
        given, wanted = choose("direction", direction, DIRECTIONS)
        min_max = choose("scaling", scaling, {"minmax": (1.0, 10.0), "fixed": None})
        if not 0 <= seed < 1000:
            raise ValueError(f"seed={seed} must lie in 0 to 999, so that the splits stay apart.")
        if n_samples < 1:
            raise ValueError(f"n_samples={n_samples} must be at least 1.")
        self.generator = replace(make_generator(preset), min_max=min_max)
        moves = self.generator.sample(np.random.RandomState(first + seed), n_samples)
        self.inputs = torch.from_numpy(getattr(moves, given).astype(np.float32))
        self.targets = torch.from_numpy(getattr(moves, wanted).astype(np.float32))

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.inputs[i], self.targets[i]

    def __getitems__(self, items: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Inputs and targets (T, B, 2) of these items."""
        return self.inputs[items].swapaxes(0, 1), self.targets[items].swapaxes(0, 1)

    @staticmethod
    def collate(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Batches come whole from `__getitems__`."""
        return batch
