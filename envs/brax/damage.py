"""Damage of Brax's ant as pure functions: which faults are there in a step, and what they do to body, joints and sensors."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.brax.bodies import Bodies, Condition, anatomy
from envs.brax.tasks import TASKS, BraxTask, TaskState
from envs.continual.perturb import Perturbation
from envs.damage import KINDS, Anatomy, Damage, Fault, Structure, parse_damage, structure_of

SALT = 0xDA3A6E  # keeps the draws of damage apart from those of the start
MOST_GROUPS = 6  # of limbs that come and go at different times: 2^6 bodies


class DamageState(NamedTuple):
    """What is broken in one environment; subjects (S,) are the limbs, joints and sensors in this order."""

    which: jax.Array
    """Which of the task's damages, int32 ()."""
    alternative: jax.Array
    """Which alternative this episode has, int32 ()."""
    start: jax.Array
    """First step of each subject's fault, int32 (S,)."""
    key: jax.Array
    """Data of the key of the sensors' noise, uint32 (2,)."""
    step: jax.Array
    """Steps taken since the damage was set, int32 ()."""
    active: jax.Array
    """Which subjects were damaged in the last step, bool (S,)."""
    condition: Condition


class Tables(NamedTuple):
    """All alternatives of all damages of a task, as arrays: each row is an alternative (A, ...)."""

    odds: Any  # (A, damages): of each alternative in each damage
    present: Any  # (A, S)
    start: Any
    latest: Any
    period: Any  # 1 and `on` 1 where a fault does not come and go
    on: Any
    gain: Any  # (A, joints)
    lock: Any
    removed: Any  # (A, limbs)
    dead: Any  # (A, sensors)
    stuck: Any
    noise: Any
    group: Any  # (A, limbs): bit of the limb's group, 0 where the body does not change with it
    body: Any  # (A, 2^groups): number of the body by the groups that are there


class DamagedTask(BraxTask):
    """The ant with damage; made by `make_task` and `BraxTask.with_damage`.

    Its program is the same for all episodes: which faults there are is part of the state.

    :param damages: environments of one program may differ in which of these they have
    """

    def __init__(self, intact: BraxTask, damages: tuple[Damage, ...], observe_damage: bool) -> None:
        self.intact = intact
        self.damages = damages
        self.observe_damage = observe_damage
        self.name, self.physics, self.max_episode_steps = intact.name, intact.physics, intact.max_episode_steps
        self.reward = intact.reward
        self.perturbation, self.fidelity = intact.perturbation, intact.fidelity
        self.env, self.dt = intact.env, intact.dt
        self.action_size = intact.action_size
        self.anatomy = anatomy(self.physics)
        self.alternatives = tuple(faults for damage in damages for faults in damage.alternatives)
        self.parts = (*self.anatomy.limbs, *self.anatomy.joints, *self.anatomy.sensors)
        self.observation_size = intact.observation_size + (len(self.parts) if observe_damage else 0)
        self._subjects = [(what, part) for what in ("limb", "joint", "sensor") for part in self.anatomy.parts(what)]
        self._limbs, self._joints = len(self.anatomy.limbs), len(self.anatomy.joints)
        self._channels = _channels(self.anatomy, intact.observation_size)
        self._tables, structures = self._tabulate()
        changing = ("remove", "shorten", "lock")
        changes = [fault for faults in self.alternatives for fault in faults if fault.kind in changing]
        self._begins_changed = any(fault.start == 0 for fault in changes)
        self._changes = any(fault.scheduled for fault in changes)
        self._locks = bool(self._tables.lock.any())
        self.bodies = _bodies(self.env, self.physics, structures, self._locks)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, damage={'; '.join(map(str, self.damages))!r})"

    def reset(self, key: jax.Array, which: Any = 0) -> TaskState:
        """Initial state, with one of `damages`; the robot starts as without damage under the same key."""
        physics = self.intact.reset(key).physics
        damage = self._draw(which, jax.random.fold_in(key, SALT), physics, _whole(self._joints))
        if self._begins_changed:
            physics = self.bodies.change(physics, _whole(self._joints), damage.condition)
            obs = self.bodies.observe(physics, damage.condition)
            physics = physics.replace(obs=jnp.where(damage.condition.body == 0, physics.obs, obs))
        state = self._wrap(physics)
        return state._replace(obs=self._sense(state.obs, state.obs, damage), damage=damage)

    def restart(self, key: jax.Array, state: TaskState) -> TaskState:
        return self.reset(key, state.damage.which)

    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        old: DamageState = state.damage
        damage = self._advance(old, state.physics)
        physics = state.physics
        if self._changes:
            physics = self.bodies.change(physics, old.condition, damage.condition)
        env = self.bodies.under(damage.condition)
        new = self._wrap(env.step(physics, jnp.clip(action, -1.0, 1.0)))
        obs = self._sense(new.obs, state.obs[: self.intact.observation_size], damage)
        return new._replace(obs=jnp.where(jnp.isnan(new.reward), 0.0, obs), damage=damage)

    def set_damage(self, state: TaskState, which: jax.Array, key: jax.Array) -> TaskState:
        """The state with another of `damages` from the next step on; its schedule counts from now.

        :param state: of this task, or of one from which it was made by `with_damage`
        :param key: draws the alternative and the random steps; the same key may draw other things
        """
        old = state.damage.condition if state.damage else _whole(self._joints)
        damage = self._draw(which, jax.random.fold_in(key, SALT), state.physics, old)
        physics = self.bodies.change(state.physics, old, damage.condition)
        return state._replace(physics=physics, damage=damage)

    @functools.cached_property
    def jit_set_damage(self) -> Any:
        """`set_damage` compiled."""
        return jax.jit(self.set_damage)

    def with_damage(self, damage: Any) -> "tuple[DamagedTask, int]":
        parsed = parse_damage(damage, self.anatomy, self.max_episode_steps)
        damages = self.damages if parsed in self.damages else (*self.damages, parsed)
        return _cached_task(self.intact, damages, self.observe_damage), damages.index(parsed)

    def damage_names(self, alternative: int, active: np.ndarray) -> tuple[str, ...]:
        """Names of the faults that are there, as in `info["damage"]`."""
        faults = self.alternatives[alternative]
        return tuple(fault.name for fault in faults if active[self._subject(fault)])

    def _subject(self, fault: Fault) -> int:
        return self._subjects.index((KINDS[fault.kind][0], fault.part))

    def _draw(self, which: Any, key: jax.Array, physics: Any, old: Condition) -> DamageState:
        """The damage of a new episode at its first step."""
        tables = self._tables
        which = jnp.asarray(which, jnp.int32)
        choice, moment, noise = jax.random.split(key, 3)
        alternative = jax.random.categorical(choice, jnp.log(jnp.asarray(tables.odds))[:, which]).astype(jnp.int32)
        earliest, latest = jnp.asarray(tables.start)[alternative], jnp.asarray(tables.latest)[alternative]
        start = jax.random.randint(moment, earliest.shape, earliest, latest + 1)
        zero = jnp.int32(0)
        nothing = jnp.zeros(len(self._subjects), bool)
        damage = DamageState(which, alternative, start, jax.random.key_data(noise), zero, nothing, old)
        return self._advance(damage, physics)._replace(step=zero)

    def _advance(self, damage: DamageState, physics: Any) -> DamageState:
        """The damage of the next step, which begins with this state of the physics."""
        row = Tables(*(jnp.asarray(table)[damage.alternative] for table in self._tables))
        since = damage.step - damage.start
        active = row.present & (since >= 0) & (since % row.period < row.on)
        limbs, joints = active[: self._limbs], active[self._limbs : self._limbs + self._joints]
        body = row.body[jnp.sum(jnp.where(limbs, row.group, 0))]
        gains = jnp.where(joints, row.gain, 1.0) * ~self._gone(limbs & row.removed)
        old, locked = damage.condition, joints & row.lock
        angles = jnp.where(locked & ~old.locked, self.bodies.angles(physics), old.angles) if self._locks else old.angles
        return damage._replace(step=damage.step + 1, active=active, condition=Condition(body, gains, locked, angles))

    def _gone(self, removed: jax.Array) -> jax.Array:
        """Joints of removed limbs, bool (joints,)."""
        of_limb = [[joint in parts for joint in self.anatomy.joints] for parts in self.anatomy.limbs.values()]
        return jnp.any(jnp.array(of_limb) & removed[:, None], axis=0)

    def _sense(self, obs: jax.Array, last: jax.Array, damage: DamageState) -> jax.Array:
        """What the robot senses of a true observation, with the flags of broken parts behind it if they are revealed.

        :param last: what it sensed in the step before
        """
        tables = self._tables
        sensors = damage.active[self._limbs + self._joints :]
        removed = damage.active[: self._limbs] & jnp.asarray(tables.removed)[damage.alternative]

        def at(table: np.ndarray) -> jax.Array:
            """Where in the observation the sensors are that have this fault now (D,)."""
            return jnp.any(self._channels & (sensors & jnp.asarray(table)[damage.alternative])[:, None], axis=0)

        zero = jnp.any(self._channels[: self._joints] & self._gone(removed)[:, None], axis=0)
        sensed = jnp.where(zero | at(tables.dead), 0.0, obs)
        if tables.stuck.any():
            sensed = jnp.where(at(tables.stuck), last, sensed)
        if tables.noise.any():
            key = jax.random.fold_in(jax.random.wrap_key_data(damage.key), damage.step)
            deviation = jnp.where(sensors, jnp.asarray(tables.noise)[damage.alternative], 0.0) @ self._channels
            sensed = sensed + deviation * jax.random.normal(key, obs.shape)
        return jnp.concatenate([sensed, self._flags(damage.active, removed)]) if self.observe_damage else sensed

    def _flags(self, active: jax.Array, removed: jax.Array) -> jax.Array:
        own = np.array([[part == name for name in self.parts] for _, part in self._subjects])
        with_limb = np.array([[name in parts for name in self.parts] for parts in self.anatomy.limbs.values()])
        broken = jnp.any(own & active[:, None], axis=0) | jnp.any(with_limb & removed[:, None], axis=0)
        return broken.astype(jnp.float32)

    def _tabulate(self) -> tuple[Tables, tuple[Structure, ...]]:
        """The alternatives as arrays, and the bodies that they need."""
        count, subjects = len(self.alternatives), len(self._subjects)
        limbs, joints = self._limbs, self._joints
        sensors = subjects - limbs - joints
        odds = np.zeros((count, len(self.damages)), np.float32)
        present, lock = np.zeros((count, subjects), bool), np.zeros((count, joints), bool)
        start, latest = np.zeros((2, count, subjects), np.int32)
        period, on = np.ones((2, count, subjects), np.int32)
        gain = np.ones((count, joints), np.float32)
        removed = np.zeros((count, limbs), bool)
        dead, stuck = np.zeros((2, count, sensors), bool)
        noise = np.zeros((count, sensors), np.float32)
        groups = [_groups(faults) for faults in self.alternatives]
        group = np.zeros((count, limbs), np.int32)
        body = np.zeros((count, 2 ** max(map(len, groups))), np.int32)
        structures: list[Structure] = [()]
        first = 0
        for d, damage in enumerate(self.damages):
            odds[first : first + len(damage.alternatives), d] = damage.probabilities
            first += len(damage.alternatives)
        for a, faults in enumerate(self.alternatives):
            for fault in faults:
                s = self._subject(fault)
                present[a, s], start[a, s] = True, fault.start
                latest[a, s] = fault.start if fault.latest is None else fault.latest
                period[a, s], on[a, s] = fault.period or 1, fault.active or 1
                if fault.kind == "remove":
                    removed[a, s] = True
                elif fault.kind in ("weaken", "slack"):
                    gain[a, s - limbs] = fault.value or 0.0
                elif fault.kind == "lock":
                    lock[a, s - limbs] = True
                elif s >= limbs + joints:
                    sensor = s - limbs - joints
                    dead[a, sensor], stuck[a, sensor] = fault.kind == "dead", fault.kind == "stuck"
                    noise[a, sensor] = fault.value or 0.0
            always = [f for f in faults if not f.scheduled]
            for g, group_faults in enumerate(groups[a]):
                for fault in group_faults:
                    group[a, self._subject(fault)] = 2**g if fault is group_faults[0] else 0
            for bits in range(2 ** len(groups[a])):
                there = [fault for g, group_faults in enumerate(groups[a]) if bits >> g & 1 for fault in group_faults]
                structure = structure_of([*always, *there])
                if structure not in structures:
                    structures.append(structure)
                body[a, bits] = structures.index(structure)
        tables = Tables(odds, present, start, latest, period, on, gain, lock, removed, dead, stuck, noise, group, body)
        return tables, tuple(structures)


def make_damaged(intact: BraxTask, damage: Any, observe_damage: bool) -> DamagedTask:
    """The task with one description of damage (see `envs.damage`). ValueError if it makes no sense, or for another robot
    than the ant."""
    if intact.name != "ant":
        raise ValueError(f"Brax's {TASKS[intact.name]} cannot be damaged; of the Brax tasks only Ant can.")
    if intact.perturbation != Perturbation():
        raise ValueError("Brax's ant takes damage or a perturbation, not both; DamagedAnt-v0 takes both.")
    parsed = parse_damage(damage, anatomy(intact.physics), intact.max_episode_steps)
    return _cached_task(intact, (parsed,), observe_damage)


@functools.cache
def _cached_task(intact: BraxTask, damages: tuple[Damage, ...], observe_damage: bool) -> DamagedTask:
    return DamagedTask(intact, damages, observe_damage)


def _bodies(env: Any, physics: str, structures: tuple[Structure, ...], locks: bool) -> Bodies:
    if physics == "v1":
        from envs.brax.bodies_v1 import BodiesV1

        return BodiesV1(env, structures, locks)
    from envs.brax.bodies_v2 import BodiesV2

    return BodiesV2(env, structures, locks)


def _groups(faults: tuple[Fault, ...]) -> list[list[Fault]]:
    """Faults of limbs that come or go, those that always do so together in one group."""
    groups: dict[Any, list[Fault]] = {}
    for fault in faults:
        if fault.kind in ("shorten", "remove") and fault.scheduled:
            together = fault if fault.latest is not None else (fault.start, fault.period, fault.active)
            groups.setdefault(together, []).append(fault)
    if len(groups) > MOST_GROUPS:
        raise ValueError(f"In one episode, limbs can come or go at {MOST_GROUPS} different times, not at {len(groups)}.")
    return list(groups.values())


def _whole(joints: int) -> Condition:
    return Condition(jnp.int32(0), jnp.ones(joints), jnp.zeros(joints, bool), jnp.zeros(joints))


def _channels(anatomy: Anatomy, size: int) -> np.ndarray:
    """Where each sensor is in the observation, bool (sensors, D): the torso's height and turn, angles of the joints, the
    torso's velocities, those of the joints, contact forces."""
    joints = len(anatomy.joints)
    channels = np.zeros((len(anatomy.parts("sensor")), size), bool)
    for i in range(joints):
        channels[i, [5 + i, 11 + joints + i]] = True
    channels[joints, [*range(5), *range(5 + joints, 11 + joints)]] = True
    channels[joints + 1 :, 11 + 2 * joints :] = True
    return channels
