"""A continual run: its tasks one after the other, every task played after each, checkpoints in between."""

import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.utils import get_device, set_random_seed
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.sac.policies import Actor
from tqdm import tqdm

from envs.continual.scenarios import Task
from policies.names import choose, unexpected
from policies.precision import check_precision, to_bfloat16
from trainers import checkpoint
from trainers.continual.config import ContinualConfig, check, scenario_of
from trainers.continual.learner_state import learner_arrays, restore_learner
from trainers.continual.methods import ANY_POLICY, METHODS
from trainers.continual.methods.base import Activation, Judge, Method
from trainers.continual.metrics import average_performance, forgetting
from trainers.continual.sac import ContinualSAC
from trainers.continual.tally import Tally
from trainers.continual.worlds import MOST_COPIES, check_spaces, earn, make_world, play
from trainers.progress import Interruption
from trainers.torch_state import load_module, module_arrays

EVALUATION = 100_003  # start states of evaluations, apart from those of training
SELECTION = 200_003
POLICIES = ("MlpPolicy", "SpikingPolicy")


class ContinualRun:
    """Everything of a run that outlasts a task.

    All that is random in the part of a task between two checkpoints comes from (seed, task, part), and environments start
    anew there, so that a run goes on from a checkpoint exactly.
    """

    def __init__(self, config: ContinualConfig) -> None:
        """A new run; everything that is wrong with the config is told before there is a folder."""
        self.config = config
        self.scenario = scenario_of(config)
        check(config, self.scenario.n_timesteps)
        check_precision(config.precision)
        self.device = _device(config.device)
        self.policy_kwargs: dict[str, Any] = {"net_arch": list(config.net_arch)}
        if config.policy == "MlpPolicy":
            self.policy_kwargs |= {"activation_fn": Activation}
        elif config.policy not in POLICIES:
            known = " or ".join(POLICIES)
            raise ValueError(f"policy='{config.policy}' must be {known}; SAC's replay keeps no state, as others need.")
        self.policy_kwargs |= config.policy_kwargs
        spaces = check_spaces(self.scenario)
        policy: Any = SAC.policy_aliases[config.policy]

        def make_actor() -> Actor:
            actor: Actor = policy(*spaces, lambda _: config.learning_rate, **self.policy_kwargs).actor.to(self.device)
            if config.precision == "bfloat16" and config.policy == "MlpPolicy":
                to_bfloat16(actor.latent_pi, slice(1, None))
            return actor

        self._seed(0, 0, 0)
        self.method = _build(config, make_actor, len(self.scenario.tasks))
        self.method.to(self.device)
        self.task = self.part = 0
        self.evaluations: list[dict[str, Any]] = []
        self.curve: list[dict[str, Any]] = []
        self.steps = {"train": 0, "selection": 0, "evaluation": 0}
        self.learner: ContinualSAC | None = None
        self._held: Any = None
        self._worlds: dict[tuple[int, int], VecEnv] = {}

    def open(self, folder: Path, outputs: Sequence[KVWriter]) -> None:
        """Write checkpoints to a folder, and what is logged to these."""
        self.folder, self.logger = folder, Logger(str(folder), list(outputs))

    @property
    def budget(self) -> int:
        """Steps of a task, as many in each environment."""
        n_envs = self.config.n_envs
        return -(-self.scenario.n_timesteps // n_envs) * n_envs

    def parts(self) -> list[int]:
        """Steps of a task between one checkpoint and the next."""
        every = self.config.save_every or self.scenario.max_episode_steps * self.config.n_envs
        every = max(self.config.n_envs, every // self.config.n_envs * self.config.n_envs)
        whole, rest = divmod(self.budget, every)
        return [every] * whole + ([rest] if rest else [])

    def go(self) -> bool:
        """Learn what remains; True when Ctrl-C ended it."""
        tasks = self.scenario.tasks
        done = self.task * self.budget + sum(self.parts()[: self.part])
        bar = tqdm(
            total=len(tasks) * self.budget, initial=done, unit="step", disable=not self.config.progress, dynamic_ncols=True
        )
        with bar:
            if not self.evaluations:
                bar.set_postfix_str("playing all tasks before the first")
                self._evaluate(-1)
            return self._learn_tasks(bar)

    def _learn_tasks(self, bar: Any) -> bool:
        tasks = self.scenario.tasks
        with Interruption() as interruption:
            while self.task < len(tasks):
                bar.set_postfix_str(f"task {self.task + 1} of {len(tasks)}, {tasks[self.task].name}")
                if not self._learn_task(bar, interruption):
                    return True
                self._evaluate(self.task)
                self._close_worlds()
                self.task, self.part = self.task + 1, 0
                self.save()
        return False

    def _learn_task(self, bar: Any, interruption: Interruption) -> bool:
        learner = self.learner or self._begin_task()
        self.learner = learner
        parts = self.parts()
        while self.part < len(parts):
            self._seed(1, self.task, self.part)
            assert learner.env is not None
            learner.env.seed(self._number(2, self.task, self.part))
            learner.action_space.seed(self._number(6, self.task, self.part))
            learner._last_obs = None
            tally = Tally(self.task, bar, interruption)
            learner.learn(parts[self.part], tally, log_interval=self.config.n_envs, reset_num_timesteps=False)
            if interruption.requested and tally.taken < parts[self.part]:
                return False
            self.curve += tally.rows()
            self.steps["train"] += parts[self.part]
            self.part += 1
            if self.part < len(parts):
                self.save()
        self._seed(3, self.task, 0)
        told = self.method.after_task(learner, self.judge(1))
        if told:
            bar.write(f"{self.config.method}, task {self.task + 1}: {told}")
        learner.env.close()  # type: ignore[union-attr]
        self._held = learner.critic.state_dict(), learner.critic_target.state_dict()
        self.learner = None
        return True

    def _begin_task(self) -> ContinualSAC:
        """The method gets ready, and a new learner, which takes over the critics unless they are to be new."""
        self._seed(4, self.task, 0)
        self.method.before_task(self.task, self.judge(0))
        learner = self._make_learner()
        if self._held is not None and not (self.method.new_critics or self.config.new_critics):
            learner.critic.load_state_dict(self._held[0])
            learner.critic_target.load_state_dict(self._held[1])
        return learner

    def _make_learner(self) -> ContinualSAC:
        config = self.config
        env = self.method.wrap(self._make_world(self.scenario.tasks[self.task], config.n_envs))
        begun = self.task * self.budget
        learner = ContinualSAC(
            config.policy,
            env,
            self.method,
            config.critic_learning_rate,
            config.policy_delay,
            config.reward_scale,
            random_steps=begun + config.random_steps,
            precision=config.precision,
            learning_rate=config.learning_rate,
            buffer_size=min(config.buffer_size, self.budget),
            learning_starts=begun + config.learning_starts,
            batch_size=config.batch_size,
            tau=config.tau,
            gamma=config.gamma,
            train_freq=(1, "step"),
            gradient_steps=max(1, round(config.update_ratio * config.n_envs)),
            ent_coef=f"auto_{config.initial_temperature}",
            target_update_interval=config.target_delay,
            target_entropy=-config.target_multiplier * float(np.prod(env.action_space.shape)),  # type: ignore[arg-type]
            policy_kwargs=self.policy_kwargs,
            device=self.device,
        )
        learner.set_logger(self.logger)
        learner.num_timesteps = begun + sum(self.parts()[: self.part])
        return learner

    def judge(self, when: int) -> Judge:
        """Trials of the method in the present task, before (0) or after (1) it is learned."""
        seed = SELECTION + self._number(5, self.task, when)

        def returns(actor: torch.nn.Module, episodes: int) -> np.ndarray:
            played = play(self._world(self.task, episodes), actor, episodes, seed, self.device)
            self.steps["selection"] += played.steps
            return played.returns

        def rewards(actor: torch.nn.Module, n: int, steps: int) -> np.ndarray:
            env = self._make_world(self.scenario.tasks[self.task], n)
            earned, taken = earn(env, actor, steps, seed, self.device)
            env.close()
            self.steps["selection"] += taken
            return earned

        return Judge(returns, rewards)

    def _evaluate(self, after: int) -> None:
        """Play every task; slots of the same task whose actors are the same are played once.

        :param after: the task that has been learned; -1 before the first
        """
        known: list[tuple[Any, dict[str, torch.Tensor], Any]] = []
        for i, task in enumerate(self.scenario.tasks):
            actor = self.method.actor_for(i)
            own = actor.state_dict()
            played = next((p for t, state, p in known if t == task and _same(state, own)), None)
            if played is None:
                env = self._world(i, self.config.eval_episodes)
                played = play(env, actor, self.config.eval_episodes, EVALUATION + self.config.seed, self.device)
                self.steps["evaluation"] += played.steps
                known.append((task, own, played))
            row = {"after": after, "task": i, "name": task.name, "return": float(played.returns.mean())}
            row |= {"return_std": float(played.returns.std())}
            if np.isfinite(played.success).all():
                row |= {"success": float(played.success.mean()), "last_success": float(played.last_success.mean())}
            self.evaluations.append(row)
            self.logger.record(f"continual/{self.metric}_{i}_{task.name}", row[self.metric])
        if after >= 0:
            learned = self.matrix()[1:, : after + 1]
            self.logger.record("continual/performance", average_performance(learned))
            self.logger.record("continual/forgetting", forgetting(learned))
        size = self.method.size()
        for name, value in self.steps.items():
            self.logger.record(f"continual/{name}_steps", value)
        self.logger.record("continual/train_size", size.train)
        self.logger.record("continual/inference_size", size.inference)
        self.logger.dump(step=(after + 1) * self.budget)

    @property
    def metric(self) -> str:
        """What performance is: return or success."""
        return self.scenario.metric

    def matrix(self) -> np.ndarray:
        """Performance of every task (columns) before the first and after each task that has been learned (rows)."""
        values = [row[self.metric] for row in self.evaluations]
        return np.array(values).reshape(-1, len(self.scenario.tasks))

    def _make_world(self, task: Task, n_envs: int) -> VecEnv:
        return make_world(task, self.scenario.max_episode_steps, n_envs, self.config.seed)

    def _world(self, task: int, episodes: int) -> VecEnv:
        """An environment to play in, kept until the task is over."""
        spec = self.scenario.tasks[task]
        first = self.scenario.tasks.index(spec)
        key = first, episodes
        if key not in self._worlds:
            brax = spec.env_id.startswith("Brax")
            self._worlds[key] = self._make_world(spec, episodes if brax else min(episodes, MOST_COPIES))
        return self._worlds[key]

    def _close_worlds(self) -> None:
        for env in self._worlds.values():
            env.close()
        self._worlds.clear()

    def _tasks(self) -> Any:
        """What is learned, as JSON has it."""
        told = [[task.name, task.env_id, dict(task.env_kwargs)] for task in self.scenario.tasks]
        return json.loads(json.dumps([told, self.scenario.max_episode_steps, self.budget]))

    def _number(self, *what: int) -> int:
        return int(np.random.SeedSequence([self.config.seed, *what]).generate_state(1)[0] >> 1)

    def _seed(self, *what: int) -> None:
        """Seed everything that draws."""
        set_random_seed(self._number(*what))

    def save(self) -> None:
        """Write a checkpoint of the present place."""
        arrays = module_arrays(self.method, "method")
        if self._held is not None:
            for name, state in zip(("critic", "target"), self._held, strict=True):
                arrays |= {f"held_{name}/{key}": value.cpu().numpy() for key, value in state.items()}
        meta = {
            "task": self.task, "part": self.part, "memo": self.method.memo(), "evaluations": self.evaluations,
            "curve": self.curve, "steps": self.steps, "learning": self.learner is not None, "tasks": self._tasks(),
        }  # fmt: skip
        if self.learner is not None:
            own, told = learner_arrays(self.learner)
            arrays, meta = arrays | own, meta | {"learner": told}
        checkpoint.save(self.folder / "checkpoint.zip", arrays, meta)

    def restore(self) -> None:
        """Go to the place of the checkpoint."""
        path = self.folder / "checkpoint.zip"
        if not path.is_file():
            return
        arrays, meta = checkpoint.load(path)
        if meta["tasks"] != self._tasks():
            raise ValueError(f"'{path}' is of other tasks than those of {self.config.scenario} now; start a new run.")
        self.method.restore(meta["memo"])
        load_module(self.method, arrays, path, "method")
        self.method.to(self.device)
        self.task, self.part, self.steps = meta["task"], meta["part"], meta["steps"]
        self.evaluations, self.curve = meta["evaluations"], meta["curve"]
        if any(name.startswith("held_critic/") for name in arrays):
            self._held = _part(arrays, "held_critic/"), _part(arrays, "held_target/")
        if meta["learning"]:
            self.learner = self._make_learner()
            restore_learner(self.learner, arrays, meta["learner"], path)


def _build(config: ContinualConfig, make_actor: Callable[[], Actor], n_tasks: int) -> Method:
    """The method; ValueError for options that it has not, numbers that are none, and options that its policy has not."""
    cls = choose("method", config.method, METHODS)
    if config.policy != "MlpPolicy" and cls.needs_layers:
        raise ValueError(
            f"The method '{config.method}' works on the layers of MlpPolicy; with {config.policy} go {', '.join(ANY_POLICY)}."
        )
    known = {name: p.default for name, p in inspect.signature(cls).parameters.items() if p.kind is p.KEYWORD_ONLY}
    for name, value in config.arguments.items():
        if name not in known:
            raise ValueError(f"The method '{config.method}' has no option '{name}'.")
        if isinstance(known[name], int | float) and not isinstance(value, int | float):
            raise ValueError(f"The method '{config.method}' takes a number for {name}, not {value!r}.")
    try:
        return cls(make_actor, n_tasks, **config.arguments)
    except TypeError as error:
        unknown = unexpected(error)
        if unknown is None:
            raise
        raise ValueError(f"The policy '{config.policy}' has no option '{unknown}'.") from error


def _device(name: str) -> torch.device:
    try:
        return get_device(name)
    except RuntimeError as error:
        raise ValueError(f"Unknown device '{name}'; give auto, cpu or cuda.") from error


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _part(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): torch.from_numpy(a) for name, a in arrays.items() if name.startswith(prefix)}
