"""Rollouts of Brax tasks: networks and physics in one jitted program, spread over all devices."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from envs.brax.tasks import BraxTask, TaskState
from policies.population.types import PopulationNetwork
from trainers.rollout.normalizer import Moments, Scaling, moments_from_sums
from trainers.rollout.types import Evaluation, episode_keys, select

CPU_SLOTS = (8, 16)  # episodes a CPU core plays side by side; with more, XLA splits operations over busy threads
REFILLS = 8  # rounds of the queue that a core should play: with few, the last episodes leave most slots idle


class Slots(NamedTuple):
    """Episodes in progress, all leaves with a leading axis (S,)."""

    item: jax.Array  # which queued episode, or the queue's length when the slot is idle
    alive: jax.Array
    params: Any
    env: TaskState
    carry: Any
    result: "Result"


class Result(NamedTuple):
    """What is kept of an episode."""

    ret: jax.Array
    length: jax.Array
    first: jax.Array  # sum of (obs - shift)
    second: jax.Array  # sum of (obs - shift)^2
    metrics: dict[str, jax.Array]  # sums over steps


class JittedRollout:
    """Plays exactly the episodes asked for, none twice, and stops when the last has ended.

    Episodes wait in a queue and are played in slots. Every `chunk_steps` steps the slots whose episode has ended take
    the next from the queue, so that early falls waste at most a chunk. After an episode's end nothing of it counts.
    The queue is cut into one part a device; a device samples the parameters of its own members only.

    An episode's result depends on (key, member, episode), not on its place in the queue, the chunk size, the number of
    slots (up to 32) or the number of devices (from 2 on; see `trainers.devices`).

    :param slots: episodes played side by side on each device (default: 8 or 16 on a CPU core, all of them on accelerators)
    :param chunk_steps: steps between refills
    :param devices: where to play (default: all local devices of the default backend)
    """

    def __init__(
        self,
        network: PopulationNetwork,
        task: BraxTask,
        slots: int | None = None,
        chunk_steps: int = 8,
        devices: list[jax.Device] | None = None,
    ) -> None:
        for name, value in (("slots", slots), ("chunk_steps", chunk_steps)):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1.")
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
    ) -> Evaluation:
        queue = Queue.plan(np.asarray(members), np.asarray(episodes), len(self.devices))
        scaling = Scaling.of(normalizer)
        result = self._program(queue)(params_of, queue.arrays, key, scaling)
        result = jax.tree.map(lambda x: np.asarray(x)[queue.position], result)
        return evaluation(result, np.asarray(scaling.mean, np.float64), counted)

    def _program(self, queue: "Queue") -> Callable[..., Result]:
        """The compiled program for queues of this size."""
        size = queue.arrays.row.shape[0] // len(self.devices)
        rows = queue.arrays.table.shape[0] // len(self.devices)
        if (size, rows) not in self._programs:
            play = Player(self.network, self.task, min(self.slots or self._default_slots(size), size), self.chunk_steps)
            mesh = Mesh(np.array(self.devices), ("device",))
            split, same = PartitionSpec("device"), PartitionSpec()
            self._programs[size, rows] = jax.jit(
                jax.shard_map(play, mesh=mesh, in_specs=(same, split, same, same), out_specs=split, check_vma=False)
            )
        return self._programs[size, rows]

    def _default_slots(self, size: int) -> int:
        if self.devices[0].platform != "cpu":
            return size
        return int(np.clip(size // REFILLS // 8 * 8, *CPU_SLOTS))


class QueueArrays(NamedTuple):
    """The queue, cut into equal parts for the devices."""

    table: jax.Array  # members whose parameters a device needs
    row: jax.Array  # of each episode: the row of its member in the device's part of the table
    episode: jax.Array
    waiting: jax.Array  # False where an episode only pads the part


class Queue(NamedTuple):
    """Which episode is played where: `position[i]` is the place of the i-th asked for in the concatenated parts."""

    arrays: QueueArrays
    position: np.ndarray

    @staticmethod
    def plan(members: np.ndarray, episodes: np.ndarray, num_devices: int) -> "Queue":
        """Deal the members out to the devices like cards, each with all its episodes, in the order given."""
        unique, inverse = np.unique(members, return_inverse=True)
        device_of = inverse % num_devices
        rows = -(-len(unique) // num_devices)
        counts = np.bincount(device_of, minlength=num_devices)
        size = int(counts.max())
        table = np.full((num_devices, rows), unique[0], np.int32)
        table[np.arange(len(unique)) % num_devices, np.arange(len(unique)) // num_devices] = unique
        row = np.zeros((num_devices, size), np.int32)
        episode = np.zeros((num_devices, size), np.int32)
        waiting = np.zeros((num_devices, size), bool)
        position = np.empty(len(members), np.int64)
        for device in range(num_devices):
            mine = np.flatnonzero(device_of == device)
            row[device, : len(mine)] = inverse[mine] // num_devices
            episode[device, : len(mine)] = episodes[mine]
            waiting[device, : len(mine)] = True
            position[mine] = device * size + np.arange(len(mine))
        arrays = (jnp.asarray(a.reshape(-1)) for a in (table, row, episode, waiting))
        return Queue(QueueArrays(*arrays), position)


class Player:
    """The program of one device: queue in, results in queue order out."""

    def __init__(self, network: PopulationNetwork, task: BraxTask, slots: int, chunk_steps: int) -> None:
        self.network = network
        self.task = task
        self.slots = slots
        self.chunk_steps = chunk_steps

    def __call__(self, params_of: Any, queue: QueueArrays, key: jax.Array, scaling: Scaling) -> Result:
        table = params_of(queue.table)
        size = queue.row.shape[0]
        member = queue.table[queue.row]

        def start(item: jax.Array) -> tuple[jax.Array, Any, TaskState, Any]:
            """Alive flag, parameters, environment and network state of a queued episode."""
            i = jnp.minimum(item, size - 1)
            env_key, carry_key = episode_keys(key, member[i], queue.episode[i])
            params = jax.tree.map(lambda p: p[queue.row[i]], table)
            alive = (item < size) & queue.waiting[i]
            return alive, params, self.task.reset(env_key), self.network.initial_carry(carry_key)

        def refill(state: tuple[jax.Array, Slots, Result]) -> tuple[jax.Array, Slots, Result]:
            """Store ended episodes and give every idle slot the next of the queue."""
            taken, slots, results = state
            results = jax.tree.map(lambda a, x: a.at[slots.item].set(x, mode="drop"), results, slots.result)
            idle = ~slots.alive
            item = jnp.where(idle, taken + jnp.cumsum(idle) - 1, slots.item)
            alive, params, env, carry = jax.vmap(start)(item)
            fresh = Slots(item, alive, params, env, carry, self._no_results(self.slots))
            slots = select(idle, fresh, slots)
            return jnp.minimum(taken + jnp.sum(idle), size), slots._replace(item=jnp.minimum(item, size)), results

        def advance(state: tuple[jax.Array, Slots, Result]) -> tuple[jax.Array, Slots, Result]:
            taken, slots, results = lax.cond(
                jnp.any(~state[1].alive) & (state[0] < size), refill, lambda unchanged: unchanged, state
            )

            def step(slots: Slots, _: None) -> tuple[Slots, None]:
                return jax.vmap(lambda s: self._step(s, scaling))(slots), None

            slots, _ = lax.scan(step, slots, length=self.chunk_steps)
            return taken, slots, results

        def unfinished(state: tuple[jax.Array, Slots, Result]) -> jax.Array:
            return jnp.any(state[1].alive) | (state[0] < size)

        # The first episodes, too, start in `refill`: a second copy of the reset would be compiled apart and could
        # round differently, and then an episode would depend on when it was played.
        item = jnp.full(self.slots, size)
        blank = jax.eval_shape(jax.vmap(start), item)
        alive, params, env, carry = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), blank)
        slots = Slots(item, alive, params, env, carry, self._no_results(self.slots))
        state = (jnp.int32(0), slots, self._no_results(size))
        _, slots, results = lax.while_loop(unfinished, advance, state)
        return jax.tree.map(lambda a, x: a.at[slots.item].set(x, mode="drop"), results, slots.result)

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

    def _no_results(self, count: int) -> Result:
        """Results of episodes that have not begun."""
        carry = jax.eval_shape(self.network.initial_carry, jax.random.key(0))
        metrics = jax.tree.map(lambda _: jnp.zeros(count), jax.eval_shape(self.network.metrics, carry))
        obs = jnp.zeros((count, self.task.observation_size), jnp.float32)
        return Result(jnp.zeros(count), jnp.zeros(count, jnp.int32), obs, obs, metrics)


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
