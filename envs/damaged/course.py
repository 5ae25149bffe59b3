"""The course of damage through an episode: which faults are there now, and what the sensors make of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from envs.damage import KINDS, Anatomy, Damage, Fault, parse_damage

Channels = Mapping[str, np.ndarray]


class Course:
    """Follows the faults of one environment from step to step."""

    def __init__(self, anatomy: Anatomy, damage: Any, horizon: int) -> None:
        if horizon < 1:
            raise ValueError(f"horizon={horizon} must be at least 1.")
        self.anatomy = anatomy
        self.horizon = horizon
        self.damage: Damage = parse_damage(damage, anatomy, horizon)
        self.active: tuple[Fault, ...] = ()
        self.names: tuple[str, ...] = ()
        self.parts = (*anatomy.limbs, *anatomy.joints, *anatomy.sensors)
        self.flags = np.zeros(len(self.parts))
        self._faults: tuple[Fault, ...] = ()
        self._step = 0
        self._next: int | None = None
        self._sensing: tuple[Fault, ...] = ()
        self._held: dict[str, np.ndarray] = {}
        self._last: np.ndarray | None = None
        self._rng = np.random.default_rng(0)

    def check_sensors(self, channels: Channels) -> None:
        """ValueError when a damaged sensor is not in the observation."""
        for faults in self.damage.alternatives:
            for fault in faults:
                if KINDS[fault.kind][0] == "sensor" and fault.part not in channels:
                    raise ValueError(
                        f"'{fault}': the observation has no '{fault.part}' with these arguments; it has {', '.join(channels)}."
                    )

    def replace(self, damage: Any, channels: Channels) -> None:
        """Take other damage from the next `begin` on."""
        old = self.damage
        self.damage = parse_damage(damage, self.anatomy, self.horizon)
        try:
            self.check_sensors(channels)
        except ValueError:
            self.damage = old
            raise

    def begin(self, rng: np.random.Generator, now: bool = False) -> None:
        """Draw the faults of a new episode; with `now`, of the running one from this step on."""
        self._faults = self.damage.draw(rng)
        self._rng = rng
        self._step = 0
        self._held = {}
        if not now:
            self._last = None
        self._update()

    def changes_now(self) -> bool:
        """Go on to the next step; whether faults came or went at its start. To be called once a step, before it."""
        changed = self._next is not None and self._step >= self._next
        if changed:
            self._update()
        self._step += 1
        return changed

    def observe(self, obs: np.ndarray, channels: Channels, reveal: bool) -> np.ndarray:
        """What the robot senses of a true observation, with the flags of broken parts behind it if they are revealed."""
        if self._sensing:
            obs = self._sense(obs, channels)
        self._last = obs
        return np.concatenate([obs, self.flags]) if reveal else obs

    def _update(self) -> None:
        """Find the faults of this step, and the next step in which they change."""
        self.active = tuple(fault for fault in self._faults if fault.is_active(self._step))
        changes = [c for c in (fault.next_change(self._step) for fault in self._faults) if c is not None]
        self._next = min(changes, default=None)
        self.names = tuple(fault.name for fault in self.active)
        self._sensing = tuple(f for f in self.active if KINDS[f.kind][0] == "sensor" or f.kind == "remove")
        stuck = {fault.part for fault in self._sensing if fault.kind == "stuck"}
        self._held = {part: held for part, held in self._held.items() if part in stuck}
        broken = {fault.part for fault in self.active}
        for fault in self.active:
            if fault.kind == "remove":
                broken |= set(self.anatomy.limbs[fault.part])
        self.flags = np.array([float(part in broken) for part in self.parts])

    def _sense(self, obs: np.ndarray, channels: Channels) -> np.ndarray:
        obs = obs.copy()
        for fault in self._sensing:
            if fault.kind == "remove":
                for part in self.anatomy.limbs[fault.part]:
                    if part in channels:
                        obs[channels[part]] = 0.0
                continue
            where = channels[fault.part]
            if fault.kind == "dead":
                obs[where] = 0.0
            elif fault.kind == "noisy":
                assert fault.value is not None
                obs[where] += fault.value * self._rng.standard_normal(len(where))
            else:  # stuck at the last reading before the fault, or at the first one of the episode
                if fault.part not in self._held:
                    self._held[fault.part] = (obs if self._last is None else self._last)[where].copy()
                obs[where] = self._held[fault.part]
        return obs


def check_action(action: Any) -> None:
    """ValueError for NaN or infinite numbers, which would poison the simulation for the rest of the episode."""
    if not np.isfinite(action).all():
        raise ValueError(f"The action must be finite numbers, but is {np.asarray(action).tolist()}.")
