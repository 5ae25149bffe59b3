"""What a study of adaptation is made of: the command line and config.yml."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from policies.names import choose
from trainers.adaptation.perturb import PERTURBATIONS
from trainers.config import Options


@dataclass
class AdaptationConfig:
    """Compare how policies cope with other bodies, with damage in mid-episode, and with the loss of their network's state."""

    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[NAME=]MODEL ...")]
    """Folders of runs, such as runs/es/DamagedAnt-v0_1, or zips of Stable-Baselines3; NAME stands in the tables."""
    variants: tuple[str, ...] = ()
    """Environments to compare: options with their values, such as damage=none,front_left_short."""
    unseen: tuple[str, ...] = ()
    """The same for what no policy has met in training; marked in the tables."""
    damage: tuple[str, ...] = ()
    """Damage that comes in mid-episode, such as front_left_leg; each is a study."""
    perturb: tuple[str, ...] = ()
    """What happens to the network's state in mid-episode: zero, shuffle or redraw; each is a study."""
    at: int = 500
    """First step with the damage or the perturbation."""
    steps: Annotated[int, tyro.conf.arg(name="for")] = 1
    """Steps of a perturbation; the state is changed in each of them."""
    arrays: tuple[int, ...] = ()
    """Which arrays of the state are zeroed or shuffled, such as layers, counted from 0 (default: all)."""
    window: int = 50
    """Steps over which the reward rate is a mean."""
    fraction: float = 0.9
    """How much of the rate before counts as recovered."""
    episodes: int = 16
    """Episodes of each policy in each environment; every policy has the same start states."""
    seed: int = 12345
    """Episode i starts from seed + i."""
    n_envs: int = 8
    """Environments side by side."""
    model: str = "best"
    """Which network of a run's folder: best (by evaluations during the run), last or initial."""
    env: str | None = None
    """Environment (default: that in which the first model was trained, without its damage)."""
    env_kwargs: Options = field(default_factory=dict)
    """Options of the environment, e.g. physics:spring."""
    out: str | None = None
    """Folder for the results (default: runs/adaptation/<env>_<n>)."""

    def check(self) -> None:
        """ValueError in one sentence for values that make no sense in any environment."""
        if not self.models:
            raise ValueError("Give at least one model: the folder of a run, or a zip of Stable-Baselines3.")
        if not (self.variants or self.unseen or self.damage or self.perturb):
            raise ValueError("There is nothing to study; give variants, unseen, damage or perturb.")
        for name in ("at", "steps", "window", "episodes", "n_envs"):
            if getattr(self, name) < 1:
                flag = "for" if name == "steps" else name
                raise ValueError(f"{flag}={getattr(self, name)} must be at least 1.")
        if self.out is not None and Path(self.out).exists():
            raise ValueError(f"out='{self.out}' is there already; give the name of a new folder.")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction={self.fraction} must be in (0, 1].")
        for name in self.perturb:
            choose("perturbation", name, PERTURBATIONS)
        if self.arrays and "redraw" in self.perturb:
            raise ValueError("redraw concerns the whole state; leave out arrays, or redraw.")
        if (self.damage or self.perturb) and self.window > self.at:
            raise ValueError(
                f"window={self.window} must not be longer than the {self.at} steps before the event; change at or window."
            )
        if self.damage and "damage" in self.env_kwargs:
            raise ValueError("Give damage either as an option of the environment or in mid-episode, not both.")
        for damage in self.damage:
            if "@" in damage:
                raise ValueError(f"damage='{damage}' has a schedule of its own; at says when damage comes.")

    def check_horizon(self, horizon: int | None) -> None:
        """ValueError if episodes of at most so many steps are too short."""
        last = self.at + max(self.window, self.steps if self.perturb else 1)
        if (self.damage or self.perturb) and horizon is not None and last > horizon:
            what = f"at={self.at} and window={self.window}"
            if self.perturb:
                what += f" and for={self.steps}"
            raise ValueError(f"{what} need episodes of {last} steps, but those of this environment have {horizon} at most.")

    def check_arrays(self, name: str, count: int) -> None:
        """ValueError if there are `arrays` that a policy's state does not have."""
        for i in self.arrays:
            if not 0 <= i < count:
                raise ValueError(f"arrays={i}: the state of '{name}' has the arrays 0 to {count - 1}.")
