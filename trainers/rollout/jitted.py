"""Rollouts of tasks in JAX: networks and physics in one jitted program, spread over all devices."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from envs.brax.damage import DamagedTask
from policies.population.types import PopulationNetwork
from trainers.rollout.normalizer import Moments, Scaling, moments_from_sums
from trainers.rollout.types import Evaluation, Rollout, Task, episode_keys

CPU_SLOTS = 16  # episodes a CPU core plays side by side: with more, weights fall out of its cache and late slots idle
FEWEST_SLOTS = 8  # with fewer, XLA rounds differently


class Origin(NamedTuple):
    """What the beginnings of episodes are drawn from."""

    env: jax.Array  # key of the environments
    carry: jax.Array  # key of the networks' initial states
    which: jax.Array  # of a damaged task's damages


class Start(NamedTuple):
    """How episodes begin, all leaves with a leading axis (S,)."""

    env: Any  # state of the task
    carry: Any


class Slots(NamedTuple):
    """Episodes in progress, all leaves with a leading axis (S,)."""

    item: jax.Array  # which queued episode, or the queue's length when the slot is idle
    alive: jax.Array
    params: Any
    env: Any  # state of the task
    carry: Any
    result: "Result"


class Result(NamedTuple):
    """What is kept of an episode."""

    ret: jax.Array
    length: jax.Array
    first: jax.Array  # sum of (obs - shift)
    second: jax.Array  # sum of (obs - shift)^2
    metrics: dict[str, jax.Array]  # sums over steps


class State(NamedTuple):
    """Where a device stands: how many episodes have been taken from the queue, and how many are ready to be."""

    taken: jax.Array
    loaded: jax.Array
    ready: Start  # of the block of the queue that ends at `loaded`
    slots: Slots
    results: Result  # in queue order


class JittedRollout:
    """Plays exactly the episodes asked for, none twice, and stops when the last has ended.

    Episodes wait in a queue and are played in slots. Every `chunk_steps` steps the slots whose episode has ended take
    the next from the queue, so that early falls waste at most a chunk. After an episode's end nothing of it counts.
    The queue is cut into one part a device; a device samples the parameters of its own members only, and resets
    environments a block of the queue at a time.

    On a CPU, when the queue is empty and at most half of the slots are busy, these are played on by themselves.

    An episode's result depends on (key, member, episode), not on its place in the queue, the chunk size, the number of
    slots (from 8 to 32) or the number of devices (from 2 on; see `trainers.devices`).

    For a `DamagedTask`, a call says which of its damages the episodes have (`which`).

    :param slots: episodes played side by side on each device (default: 16 on a CPU core, all of them on accelerators)
    :param chunk_steps: steps between refills
    :param devices: where to play (default: all local devices of the default backend)
    """

    def __init__(
        self,
        network: PopulationNetwork,
        task: Task,
        slots: int | None = None,
        chunk_steps: int = 1,
        devices: list[jax.Device] | None = None,
    ) -> None:
        for name, value, least in (("slots", slots, FEWEST_SLOTS), ("chunk_steps", chunk_steps, 1)):
            if value is not None and value < least:
                raise ValueError(f"{name}={value} must be at least {least}.")
        self.network = network
        self.task = task
        self.slots = slots
        self.chunk_steps = chunk_steps
        self.devices = devices or jax.local_devices()
        self._programs: dict[tuple[int, int], Callable[..., Result]] = {}

    def __call__(
        self,
        params_of: Any,
        members: np.ndarray,
        episodes: np.ndarray,
        key: jax.Array,
        normalizer: Moments,
        counted: np.ndarray | None = None,
        carry_key: jax.Array | None = None,
        streams: np.ndarray | None = None,
        which: int = 0,
    ) -> Evaluation:
        members = np.asarray(members)
        streams = members if streams is None else np.asarray(streams)
        queue = Queue.plan(members, streams, np.asarray(episodes), len(self.devices))
        scaling = Scaling.of(normalizer)
        origin = Origin(key, key if carry_key is None else carry_key, jnp.int32(which))
        result = self._program(queue)(params_of, queue.arrays, origin, scaling)
        result = jax.tree.map(lambda x: np.asarray(x)[queue.position], result)
        return evaluation(result, np.asarray(scaling.mean, np.float64), counted)

    def _program(self, queue: "Queue") -> Callable[..., Result]:
        """The compiled program for queues of this size."""
        size = queue.arrays.row.shape[0] // len(self.devices)
        rows = queue.arrays.table.shape[0] // len(self.devices)
        if (size, rows) not in self._programs:
            on_cpu = self.devices[0].platform == "cpu"
            slots = min(self.slots or (CPU_SLOTS if on_cpu else size), size)
            play = Player(self.network, self.task, slots, self.chunk_steps, on_cpu)
            mesh = Mesh(np.array(self.devices), ("device",))
            split, same = PartitionSpec("device"), PartitionSpec()
            self._programs[size, rows] = jax.jit(
                jax.shard_map(play, mesh=mesh, in_specs=(same, split, same, same), out_specs=split, check_vma=False)
            )
        return self._programs[size, rows]


def task_rollouts(network: PopulationNetwork, tasks: list[Any], chunk_steps: int) -> list[Rollout]:
    """A rollout of each task; tasks that differ in their damage alone share one program."""
    damaged = [task for task in tasks if isinstance(task, DamagedTask)]
    if len(damaged) < len(tasks) or len({(id(task.intact), task.observe_damage) for task in damaged}) > 1:
        return [JittedRollout(network, task, chunk_steps=chunk_steps) for task in tasks]
    together, numbers = damaged[0], [0]
    for task in damaged[1:]:
        (damage,) = task.damages
        together, number = together.with_damage(damage)
        numbers.append(number)
    rollout = JittedRollout(network, together, chunk_steps=chunk_steps)
    return [functools.partial(rollout, which=number) for number in numbers]


class QueueArrays(NamedTuple):
    """The queue, cut into equal parts for the devices."""

    table: jax.Array  # members whose parameters a device needs
    row: jax.Array  # of each episode: the row of its member in the device's part of the table
    stream: jax.Array  # of each episode: what selects its random numbers, with its number
    episode: jax.Array
    waiting: jax.Array  # False where an episode only pads the part


class Queue(NamedTuple):
    """Which episode is played where: `position[i]` is the place of the i-th asked for in the concatenated parts."""

    arrays: QueueArrays
    position: np.ndarray

    @staticmethod
    def plan(members: np.ndarray, streams: np.ndarray, episodes: np.ndarray, num_devices: int) -> "Queue":
        """Deal the episodes out to the devices like cards, in the order given, at least as many of a member together as
        every member has: so a member is sampled by one device, and the many episodes of a mean are shared out."""
        device_of = _packets(members) % num_devices
        parts = [np.flatnonzero(device_of == device) for device in range(num_devices)]
        size = max(FEWEST_SLOTS, *(len(part) for part in parts))
        tables = [np.unique(members[part]) for part in parts]
        rows = max(len(unique) for unique in tables)
        table = np.full((num_devices, rows), members[0], np.int32)
        row = np.zeros((num_devices, size), np.int32)
        stream, episode = np.zeros((num_devices, size), np.int32), np.zeros((num_devices, size), np.int32)
        waiting = np.zeros((num_devices, size), bool)
        position = np.empty(len(members), np.int64)
        for device, (part, unique) in enumerate(zip(parts, tables, strict=True)):
            table[device, : len(unique)] = unique
            row[device, : len(part)] = np.searchsorted(unique, members[part])
            stream[device, : len(part)] = streams[part]
            episode[device, : len(part)] = episodes[part]
            waiting[device, : len(part)] = True
            position[part] = device * size + np.arange(len(part))
        arrays = (jnp.asarray(a.reshape(-1)) for a in (table, row, stream, episode, waiting))
        return Queue(QueueArrays(*arrays), position)


def _packets(members: np.ndarray) -> np.ndarray:
    """Number the packets of episodes (L,) by first appearance; a packet is of one member."""
    _, member, counts = np.unique(members, return_inverse=True, return_counts=True)
    order = np.argsort(member, kind="stable")
    nth = np.empty_like(order)  # of its member's episodes
    nth[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    packet = member * len(members) + nth // counts.min()
    _, first, packet = np.unique(packet, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[packet]


class Player:
    """The program of one device: queue in, results in queue order out."""

    def __init__(self, network: PopulationNetwork, task: Task, slots: int, chunk_steps: int, on_cpu: bool) -> None:
        self.network = network
        self.task = task
        self.slots = slots
        self.chunk_steps = chunk_steps
        self.refills = 1 if on_cpu else slots  # slots refilled together
        self.late_slots = max(slots // 2, FEWEST_SLOTS) if on_cpu else slots

    def __call__(self, params_of: Any, queue: QueueArrays, origin: Origin, scaling: Scaling) -> Result:
        table = params_of(queue.table)
        size = queue.row.shape[0]

        def keys(key: jax.Array, item: jax.Array) -> tuple[jax.Array, jax.Array]:
            return jax.vmap(episode_keys, (None, 0, 0))(key, queue.stream[item], queue.episode[item])

        def start(env_key: jax.Array, carry_key: jax.Array) -> Start:
            which = (origin.which,) if isinstance(self.task, DamagedTask) else ()
            return Start(self.task.reset(env_key, *which), self.network.initial_carry(carry_key))

        def load(state: State) -> State:
            """Reset the environments and networks of the next block of the queue."""
            item = jnp.minimum(state.taken + jnp.arange(self.slots), size - 1)
            ready = jax.vmap(start)(keys(origin.env, item)[0], keys(origin.carry, item)[1])
            return state._replace(ready=ready, loaded=jnp.minimum(state.taken + self.slots, size))

        def refill(state: State) -> State:
            """Give idle slots the next of the queue: one slot, or many at a time where that is faster."""
            taken, slots = state.taken, state.slots
            if self.refills == 1:
                slot, item = jnp.argmin(slots.alive), taken
                count = jnp.int32(1)
            else:
                order = jnp.arange(self.refills)
                count = jnp.minimum(jnp.sum(~slots.alive), state.loaded - taken)
                slot = jnp.where(order < count, jnp.nonzero(~slots.alive, size=self.refills)[0], self.slots)
                item = taken + order
            results = _put(state.results, slots.item.at[slot].get(mode="fill", fill_value=size), _get(slots.result, slot))
            item = jnp.minimum(item, size - 1)
            start = _get(state.ready, item % self.slots)
            params = _get(table, queue.row[item])
            fresh = Slots(item, queue.waiting[item], params, start.env, start.carry, self._no_results(*item.shape))
            return state._replace(taken=taken + count, slots=_put(slots, slot, fresh), results=results)

        def play(slots: Slots) -> Slots:
            def step(slots: Slots, _: None) -> tuple[Slots, None]:
                return jax.vmap(lambda s: self._step(s, scaling))(slots), None

            return lax.scan(step, slots, length=self.chunk_steps)[0]

        def prepare(state: State) -> State:
            state = lax.cond((state.taken == state.loaded) & (state.taken < size), load, lambda s: s, state)
            # Slot by slot in place; `select` over all slots would copy every parameter to replace a few.
            return lax.while_loop(lambda s: jnp.any(~s.slots.alive) & (s.taken < s.loaded), refill, state)

        def advance(state: State) -> State:
            state = lax.cond(jnp.any(~state.slots.alive) & (state.taken < size), prepare, lambda s: s, state)
            return state._replace(slots=play(state.slots))

        def busy(state: State) -> jax.Array:
            enough = 0 if self.late_slots == self.slots else self.late_slots
            return (jnp.sum(state.slots.alive) > enough) | (state.taken < size)

        def begin() -> tuple[Start, Slots]:
            ready = jax.vmap(start)(every_key, every_key)
            params = _get(table, jnp.zeros(self.slots, int))
            return ready, Slots(every, every < 0, params, ready.env, ready.carry, self._no_results(self.slots))

        every = jnp.full(self.slots, size)
        every_key = jnp.broadcast_to(origin.env, (self.slots,))
        empty = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(begin))
        ready, slots = empty[0], empty[1]._replace(item=every)
        state = State(jnp.int32(0), jnp.int32(0), ready, slots, self._no_results(size))
        state = lax.while_loop(busy, advance, state)
        results = _put(state.results, state.slots.item, state.slots.result)
        if self.late_slots == self.slots:
            return results
        late = _get(state.slots, jnp.argsort(~state.slots.alive)[: self.late_slots])
        late = lax.while_loop(lambda slots: jnp.any(slots.alive), play, late)
        return _put(results, late.item, late.result)

    def _step(self, s: Slots, scaling: Scaling) -> Slots:
        """One environment step of one slot; what has ended no longer changes its result."""
        carry, output = self.network.apply(s.params, s.carry, scaling(s.env.obs))
        env = self.task.step(s.env, jnp.clip(output, -1.0, 1.0))
        deviation = s.env.obs - scaling.mean
        r = s.result
        moved = Result(
            r.ret + env.reward,
            r.length + 1,
            r.first + deviation,
            r.second + deviation**2,
            jax.tree.map(jnp.add, r.metrics, self.network.metrics(carry)),
        )
        result = jax.tree.map(lambda new, old: jnp.where(s.alive, new, old), moved, r)
        alive = s.alive & ~env.terminated & (result.length < self.task.max_episode_steps)
        return s._replace(alive=alive, env=env, carry=carry, result=result)

    def _no_results(self, *count: int) -> Result:
        """Results of episodes that have not begun."""
        carry = jax.eval_shape(self.network.initial_carry, jax.random.key(0))
        metrics = jax.tree.map(lambda _: jnp.zeros(count), jax.eval_shape(self.network.metrics, carry))
        obs = jnp.zeros((*count, self.task.observation_size), jnp.float32)
        return Result(jnp.zeros(count), jnp.zeros(count, jnp.int32), obs, obs, metrics)


def _get(tree: Any, index: jax.Array) -> Any:
    """Leaves at `index` of their leading axis."""
    return jax.tree.map(lambda x: x[index], tree)


def _put(tree: Any, index: jax.Array, values: Any) -> Any:
    """Leaves with `values` at `index` of their leading axis; indices past its end are left out."""
    return jax.tree.map(lambda a, x: a.at[index].set(x, mode="drop"), tree, values)


def evaluation(result: Any, shift: np.ndarray, counted: np.ndarray | None) -> Evaluation:
    """Collect per-episode results (a `Result` of NumPy arrays) in float64 and in the order of the episodes."""
    keep = slice(None) if counted is None else np.asarray(counted)
    moments = moments_from_sums(result.length[keep], result.first[keep], result.second[keep], shift)
    steps = int(result.length.sum())
    metrics = {
        name: float(np.where(np.isfinite(total), total, 0.0).astype(np.float64).sum() / max(steps, 1))
        for name, total in result.metrics.items()
    }
    return Evaluation(result.ret, result.length, moments, steps, metrics)
