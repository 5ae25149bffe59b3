"""The generation loop, as a Stable-Baselines3 algorithm."""

import functools
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, Self

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv, VecTransposeImage
from tqdm import tqdm

from policies.population import find_network
from policies.population.types import PopulationNetwork
from trainers import model_file
from trainers.devices import on_all_devices, use_all_cores
from trainers.evolved_policy import POLICIES, EvolvedPolicy
from trainers.make_env import make_vec_env
from trainers.rollout import Evaluation, Moments, Rollout, make_rollout
from trainers.rollout.spaces import normalized_size
from trainers.rollout.types import select
from trainers.schedules import make_schedule
from trainers.strategies.types import Strategy


class EvolutionAlgorithm(BaseAlgorithm):
    """Evolves population networks; subclasses say with which strategy.

    A generation samples `population_size` members, plays `episodes` episodes of each on fresh start states, updates the
    strategy, and, every `eval_every` generations, plays `eval_episodes` episodes of the mean network (the one that is
    deployed) in the same batch, on start states of their own. All random numbers derive from (seed, generation,
    member, episode): no state but the generation counter lives in the stream, so that a loaded model goes on exactly
    as the uninterrupted run would have.

    `learn` calls `callback.on_step` once a generation; the frequencies of EvalCallback and CheckpointCallback count
    generations. Logged: rollout/ (sampled members), eval/ (the mean network), time/, es/, and what the
    network measures, spike/ or plastic/.

    :param policy: "RSNNPolicy", "DenseSNNPolicy", "GRUPolicy", "LSTMPolicy", "MlpPolicy" or "HebbianPolicy"; for
        images "CnnPolicy" or "HebbianCnnPolicy"
    :param env: a VecEnv, an environment or an id; Brax ids are played in one jitted program
    :param learning_rate: step size of the optimiser, a number or "lin_0.1"
    :param episodes: episodes per member and generation
    :param eval_episodes: episodes of the mean network; 0 for none
    :param eval_every: generations between evaluations
    :param normalize_obs: normalise observations that are vectors by the statistics of all earlier generations
    :param chunk_steps: environment steps between refills of finished slots (Brax); results do not depend on it
    :param n_envs: width of the VecEnv made when `env` is an id (other than Brax's)
    :param env_kwargs: keyword arguments of an environment made from an id
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = dict(POLICIES)
    policy: EvolvedPolicy

    def __init__(
        self,
        policy: str | type[EvolvedPolicy],
        env: str | gymnasium.Env | VecEnv | None,
        strategy: Strategy,
        learning_rate: float | str,
        sigma: float | str | None = None,
        episodes: int = 1,
        eval_episodes: int = 16,
        eval_every: int = 1,
        normalize_obs: bool = True,
        chunk_steps: int = 1,
        n_envs: int = 8,
        env_kwargs: dict[str, Any] | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: str = "cpu",
        _init_setup_model: bool = True,
    ) -> None:
        use_all_cores()
        for name, value, least in (
            ("episodes", episodes, 1),
            ("eval_episodes", eval_episodes, 0),
            ("eval_every", eval_every, 1),
        ):
            if value < least:
                raise ValueError(f"{name}={value} must be at least {least}.")
        if isinstance(policy, str):
            policy = POLICIES[find_network(policy)]
        self.strategy = strategy
        self.learning_rate_value, self.sigma_value = learning_rate, sigma
        self.episodes, self.eval_episodes, self.eval_every = episodes, eval_episodes, eval_every
        self.normalize_obs, self.chunk_steps = normalize_obs, chunk_steps
        self.env_id = env if isinstance(env, str) else None
        self.env_kwargs = env_kwargs or {}
        seed = int(np.random.SeedSequence().generate_state(1)[0] >> 1) if seed is None else seed
        super().__init__(
            policy=policy,
            env=make_vec_env(env, n_envs, seed, self.env_kwargs) if env is not None else None,
            learning_rate=make_schedule(learning_rate, "learning_rate"),
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
        )
        self.sigma_schedule = None if sigma is None else make_schedule(sigma, "sigma")
        self.generation = 0
        self.history: list[dict[str, float]] = []
        self.best_mean_reward = -np.inf
        if _init_setup_model:
            self._setup_model()

    def params_like(self, network: PopulationNetwork, key: jax.Array) -> Any:
        """What the strategy is initialised with."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments in plain values, from which a saved model is built again."""
        return {
            "learning_rate": self.learning_rate_value,
            "episodes": self.episodes,
            "eval_episodes": self.eval_episodes,
            "eval_every": self.eval_every,
            "normalize_obs": self.normalize_obs,
            "chunk_steps": self.chunk_steps,
            "env_kwargs": self.env_kwargs,
            "policy_kwargs": self.policy_kwargs,
            "seed": self.seed,
        }

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self.policy = self.policy_class(self.observation_space, self.action_space, seed=self.seed, **self.policy_kwargs)  # type: ignore[assignment]
        self.network = self.policy.network
        self.root_key = jax.random.key(int(self.seed or 0))
        init_key, params_key = jax.random.split(jax.random.fold_in(self.root_key, 2**31))
        self.state = self.strategy.init(init_key, self.params_like(self.network, params_key))
        self.moments = Moments.empty(normalized_size(self.observation_space))
        self._update = jax.jit(self.strategy.update)
        self._mean = jax.jit(self.strategy.mean)
        self._params_of = _members_and_mean(self.strategy)
        self.policy.set_mean(self._mean(self.state), self.moments)

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """Images stay (H, W, C), as environments give them."""
        env = BaseAlgorithm._wrap_env(env, verbose, monitor_wrapper)
        return env.venv if isinstance(env, VecTransposeImage) else env

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Go on in another environment of the same spaces."""
        super().set_env(make_vec_env(env, self.n_envs or 8, int(self.seed or 0), self.env_kwargs), force_reset)
        self.__dict__.pop("_rollout", None)

    def learn(
        self,
        total_timesteps: int | None = None,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
        generations: int | None = None,
    ) -> Self:
        """Evolve until `total_timesteps` environment steps, or `generations` generations of this model, are played.

        Ctrl-C finishes the generation and then returns; a second one interrupts at once.
        """
        if self.env is None:
            raise ValueError("There is no environment to learn in; call set_env first.")
        if total_timesteps is None and generations is None:
            raise ValueError("Give total_timesteps or generations.")
        limit = int(total_timesteps) if total_timesteps is not None else 2**62
        with jax.default_matmul_precision("highest"):
            _, callback = self._setup_learn(limit, callback, reset_num_timesteps, tb_log_name, False)
            limit = self._total_timesteps
            callback.on_training_start(locals(), globals())
            bar = _ProgressBar(progress_bar, total_timesteps and limit, generations, self.num_timesteps, self.generation)
            with _Interruption() as interruption, bar:
                while self.num_timesteps < limit and (generations is None or self.generation < generations):
                    done = self.num_timesteps / limit
                    if generations is not None:
                        done = max(done, self.generation / generations)
                    self._current_progress_remaining = 1.0 - done
                    callback.on_rollout_start()
                    row = self._evolve()
                    self._log(row, self.generation % log_interval == 0)
                    bar.update(self.num_timesteps, self.generation, row)
                    callback.update_locals(locals())
                    callback.on_rollout_end()
                    if not callback.on_step() or interruption.requested:
                        break
            self.interrupted = interruption.requested
            callback.on_training_end()
        return self

    def evaluate_mean(self, episodes: int, seed: int, policy: EvolvedPolicy | None = None) -> Evaluation:
        """Play the deployed network (or that of another `policy`) on start states of their own seed."""
        policy = policy or self.policy
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 2**31), 1)
        params_of = jax.tree_util.Partial(_one_member, policy.params)
        with jax.default_matmul_precision("highest"):
            return self._rollout(params_of, np.zeros(episodes, int), np.arange(episodes), key, policy.moments)

    def _evolve(self) -> dict[str, float]:
        """One generation: sample, play, update."""
        began = time.perf_counter()
        size = self.strategy.population_size
        remaining = self._current_progress_remaining
        self.state = self.state._replace(learning_rate=jnp.float32(self.lr_schedule(remaining)))
        if self.sigma_schedule is not None:
            self.state = self.state._replace(sigma=jnp.float32(self.sigma_schedule(remaining)))
        self.state = on_all_devices(self.state)
        sample_key, rollout_key = jax.random.split(jax.random.fold_in(self.root_key, self.generation))
        evaluating = self.eval_episodes if self.generation % self.eval_every == 0 else 0
        members = np.concatenate([np.full(evaluating, size), np.repeat(np.arange(size), self.episodes)])
        episodes = np.concatenate([np.arange(evaluating), np.tile(np.arange(self.episodes), size)])
        params_of = jax.tree_util.Partial(self._params_of, self.state, sample_key)
        scaling = self.moments if self.normalize_obs else Moments.empty(len(self.moments.mean))
        played = self._rollout(params_of, members, episodes, rollout_key, scaling, counted=members < size)
        returns, lengths = played.returns[evaluating:], played.lengths[evaluating:]
        fitness = returns.reshape(size, self.episodes).mean(axis=1)
        if evaluating:
            mean = jax.device_put(self._mean(self.state), jax.local_devices()[0])
            self._deploy(mean, scaling, float(played.returns[:evaluating].mean()))
        self.state, metrics = self._update(self.state, sample_key, jnp.asarray(fitness))
        if self.normalize_obs:
            self.moments = self.moments.merge(played.moments)
        self.generation += 1
        self.num_timesteps += played.env_steps
        finite = fitness[np.isfinite(fitness)]
        row = {
            "time/iterations": self.generation,
            "time/total_timesteps": self.num_timesteps,
            "rollout/ep_rew_mean": float(finite.mean()) if len(finite) else float("nan"),
            "rollout/return_std": float(finite.std()) if len(finite) else float("nan"),
            "rollout/return_max": float(finite.max()) if len(finite) else float("nan"),
            "rollout/ep_len_mean": float(lengths.mean()),
            "rollout/diverged": int(size - len(finite)),
        }
        if evaluating:
            row["eval/mean_reward"] = float(played.returns[:evaluating].mean())
            row["eval/std_reward"] = float(played.returns[:evaluating].std())
            row["eval/mean_ep_length"] = float(played.lengths[:evaluating].mean())
        row["train/learning_rate"] = float(self.state.learning_rate)
        row |= {f"es/{name}": float(value) for name, value in jax.device_get(metrics).items()}
        row |= played.metrics
        row["time/seconds"] = time.perf_counter() - began
        row["time/fps"] = int(played.env_steps / row["time/seconds"])
        self.history.append(row)
        return row

    def _deploy(self, params: Any, moments: Moments, mean_reward: float) -> None:
        """Make the evaluated network the policy, and remember whether it is the best so far."""
        self.policy.set_mean(params, moments)
        self.last_mean_reward = mean_reward
        self.is_best = mean_reward > self.best_mean_reward
        self.best_mean_reward = max(self.best_mean_reward, mean_reward)

    def _log(self, row: dict[str, float], dump: bool) -> None:
        for name, value in row.items():
            if name != "time/seconds":
                self.logger.record(name, value)
        if dump:
            self.logger.dump(step=self.num_timesteps)

    @functools.cached_property
    def _rollout(self) -> Rollout:
        assert self.env is not None
        return make_rollout(self.network, self.env, self.chunk_steps)

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """Write everything needed to go on exactly, to one zip of safetensors and JSON (".zip" is added)."""
        del exclude, include
        model_file.save(self, path)

    @classmethod
    def load(cls, path: Any, env: Any = None, device: str = "cpu", **kwargs: Any) -> Self:  # type: ignore[override]
        """Read a model written by `save`; with `env`, it can go on learning. `CheckpointError` for other files."""
        return model_file.load(cls, path, env, **kwargs)


def _members_and_mean(strategy: Strategy) -> Callable[..., Any]:
    """Parameters of members, where the index past the last member stands for the mean network."""

    def params_of(state: Any, key: jax.Array, members: jax.Array) -> Any:
        sampled = strategy.sample(state, key, jnp.minimum(members, strategy.population_size - 1))
        mean = _one_member(strategy.mean(state), members)
        return select(members == strategy.population_size, mean, sampled)

    return params_of


def _one_member(params: Any, members: jax.Array) -> Any:
    return jax.tree.map(lambda p: jnp.broadcast_to(p, (members.shape[0], *p.shape)), params)


class _Interruption:
    """Turns the first Ctrl-C into a request to stop after the generation; the second interrupts as usual."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> "_Interruption":
        self._previous: Any = None
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _request(self, *_: Any) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, self._previous)


class _ProgressBar:
    """Progress by generations, or by environment steps, with return, env steps/s and time left."""

    def __init__(self, shown: bool, steps: int | None, generations: int | None, done_steps: int, done_generations: int):
        self.by_generation = generations is not None
        total, initial = (generations, done_generations) if generations is not None else (steps, done_steps)
        self.bar = tqdm(
            total=total,
            initial=initial,
            unit="generation" if self.by_generation else "step",
            unit_scale=not self.by_generation,
            disable=not shown,
            dynamic_ncols=True,
        )

    def __enter__(self) -> "_ProgressBar":
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.close()

    def update(self, steps: int, generation: int, row: dict[str, float]) -> None:
        shown = f"return {row['rollout/ep_rew_mean']:.1f}"
        if "eval/mean_reward" in row:
            shown += f", deployed {row['eval/mean_reward']:.1f}"
        self.bar.set_postfix_str(f"{shown}, {row['time/fps']:,} env-steps/s", refresh=False)
        self.bar.update((generation if self.by_generation else steps) - self.bar.n)
