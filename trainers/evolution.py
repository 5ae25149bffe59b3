"""The generation loop, as a Stable-Baselines3 algorithm."""

import functools
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

from policies.names import choose
from policies.population import find_network
from policies.population.types import PopulationNetwork
from trainers import model_file
from trainers.devices import on_all_devices, use_all_cores
from trainers.evolved_policy import POLICIES, EvolvedPolicy
from trainers.progress import Interruption, ProgressBar, log_row
from trainers.rollout import Evaluation, Moments, Rollout, make_rollout
from trainers.rollout.spaces import normalized_size
from trainers.rollout.types import select
from trainers.schedules import make_generation_schedule
from trainers.strategies.types import Strategy
from trainers.variants import FITNESS, Variants


class EvolutionAlgorithm(BaseAlgorithm):
    """Evolves population networks; subclasses say with which strategy.

    A generation samples `population_size` members, plays `episodes` episodes of each on fresh start states, updates the
    strategy, and, every `eval_every` generations, plays `eval_episodes` episodes of the mean network (the one that is
    deployed) in the same batch, on start states of their own. All random numbers derive from (seed, generation,
    member, variant, episode): no state but the generation counter lives in the stream, so that a loaded model goes on exactly
    as the uninterrupted run would have.

    `learn` calls `callback.on_step` once a generation; the frequencies of EvalCallback and CheckpointCallback count
    generations. Logged: rollout/ (sampled members), eval/ (the mean network), time/, es/, and what the
    network measures, spike/ or plastic/.

    :param policy: "RSNNPolicy", "DenseSNNPolicy", "GRUPolicy", "LSTMPolicy", "MlpPolicy" or "HebbianPolicy"; for
        images "CnnPolicy" or "HebbianCnnPolicy"
    :param env: a VecEnv, an environment or an id; Brax ids are played in one jitted program
    :param learning_rate: step size of the optimiser, a number or a schedule of `trainers.schedules`; None when the strategy
        has none
    :param sigma: a further hyper-parameter of that name in the strategy's state, likewise
    :param episodes: episodes per member and generation
    :param eval_episodes: episodes of the mean network; 0 for none
    :param eval_every: generations between evaluations
    :param normalize_obs: normalise observations that are vectors by the statistics of all earlier generations
    :param chunk_steps: environment steps between refills of finished slots (Brax); results do not depend on it
    :param n_envs: width of the VecEnv made when `env` is an id (other than Brax's)
    :param vec_env: how they run, "dummy" (one after the other) or "subproc" (a process each)
    :param env_kwargs: keyword arguments of an environment made from an id
    :param variants: one keyword argument of the environment and its values, such as {"damage": ["none",
        "front_left_short"]}: every member plays `episodes` episodes of each, and so does the mean network; `env` must be
        an id, and each variant gets environments of its own
    :param variant_fitness: the fitness of a member, "mean" or "min" of its mean returns in the variants
    :param shared_start: the n-th episodes of all variants start with the same state of the network (its random weights,
        say), though never with the same state of the environment
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = dict(POLICIES)
    policy: EvolvedPolicy

    def __init__(
        self,
        policy: str | type[EvolvedPolicy],
        env: str | gymnasium.Env | VecEnv | None,
        strategy: Strategy,
        learning_rate: float | str | None,
        sigma: float | str | None = None,
        episodes: int = 1,
        eval_episodes: int = 16,
        eval_every: int = 1,
        normalize_obs: bool = True,
        chunk_steps: int = 1,
        n_envs: int = 8,
        vec_env: str = "dummy",
        env_kwargs: dict[str, Any] | None = None,
        variants: dict[str, list[Any]] | None = None,
        variant_fitness: str = "mean",
        shared_start: bool = False,
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
        self.sigma = sigma
        scheduled = {"learning_rate": learning_rate, "sigma": sigma}
        self.schedules = {n: make_generation_schedule(v, n) for n, v in scheduled.items() if v is not None}
        self.episodes, self.eval_episodes, self.eval_every = episodes, eval_episodes, eval_every
        self.normalize_obs, self.chunk_steps = normalize_obs, chunk_steps
        self.env_id = env if isinstance(env, str) else None
        self.env_kwargs, self.vec_env = env_kwargs or {}, vec_env
        self.variants = Variants.of(variants)
        self.variant_fitness, self.shared_start = variant_fitness, shared_start
        choose("variant_fitness", variant_fitness, FITNESS)
        seed = int(np.random.SeedSequence().generate_state(1)[0] >> 1) if seed is None else seed
        envs: list[Any] = self._make_envs(env, n_envs, seed) if env is not None else [None]
        first, *self.other_envs = envs
        super().__init__(
            policy=policy,
            env=first,
            learning_rate=learning_rate,  # type: ignore[arg-type]
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
        )
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
        rate = {} if self.learning_rate is None else {"learning_rate": self.learning_rate}
        return rate | {
            "episodes": self.episodes,
            "eval_episodes": self.eval_episodes,
            "eval_every": self.eval_every,
            "normalize_obs": self.normalize_obs,
            "chunk_steps": self.chunk_steps,
            "env_kwargs": self.env_kwargs,
            "variants": self.variants.table,
            "variant_fitness": self.variant_fitness,
            "shared_start": self.shared_start,
            "policy_kwargs": self.policy_kwargs,
            "seed": self.seed,
        }

    def _setup_model(self) -> None:
        self.set_random_seed(self.seed)
        self.policy = self.policy_class(self.observation_space, self.action_space, seed=self.seed, **self.policy_kwargs)  # type: ignore[assignment]
        self.network = self.policy.network
        self.root_key = jax.random.key(int(self.seed or 0))
        init_key, params_key = jax.random.split(jax.random.fold_in(self.root_key, 2**31))
        params = self.params_like(self.network, params_key)
        self.state = self.strategy.init(init_key, params)
        self.moments = Moments.empty(normalized_size(self.observation_space))
        on_host = getattr(self.strategy, "on_host", False)
        self._update = self.strategy.update if on_host else jax.jit(self.strategy.update)
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
        first, *self.other_envs = self._make_envs(env, self.n_envs or 8, int(self.seed or 0))
        super().set_env(first, force_reset)
        self.__dict__.pop("_rollout", None)

    def _make_envs(self, env: Any, n_envs: int, seed: int) -> list[VecEnv]:
        """One of each variant."""
        return self.variants.make_envs(env, n_envs, seed, self.env_kwargs, self.vec_env)

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
            bar = ProgressBar(progress_bar, total_timesteps and limit, generations, self.num_timesteps, self.generation)
            with Interruption() as interruption, bar:
                while self.num_timesteps < limit and (generations is None or self.generation < generations):
                    done = self.num_timesteps / limit
                    if generations is not None:
                        done = max(done, self.generation / generations)
                    self._current_progress_remaining = 1.0 - done
                    callback.on_rollout_start()
                    row = self._evolve()
                    log_row(self.logger, row, self.num_timesteps, self.generation % log_interval == 0)
                    bar.update(self.num_timesteps, self.generation, row)
                    callback.update_locals(locals())
                    callback.on_rollout_end()
                    if not callback.on_step() or interruption.requested:
                        break
            self.interrupted = interruption.requested
            callback.on_training_end()
        return self

    def evaluate_mean(self, episodes: int, seed: int, policy: EvolvedPolicy | None = None) -> Evaluation:
        """Play the deployed network (or that of another `policy`) on start states of their own seed, that many episodes
        of each variant in turn."""
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
        for name, schedule in self.schedules.items():
            self.state = self.state._replace(**{name: jnp.float32(schedule(remaining, self.generation))})
        self.state = on_all_devices(self.state)
        sample_key, rollout_key = jax.random.split(jax.random.fold_in(self.root_key, self.generation))
        evaluating = self.eval_episodes if self.generation % self.eval_every == 0 else 0
        members = np.concatenate([np.full(evaluating, size), np.repeat(np.arange(size), self.episodes)])
        episodes = np.concatenate([np.arange(evaluating), np.tile(np.arange(self.episodes), size)])
        params_of = jax.tree_util.Partial(self._params_of, self.state, sample_key)
        scaling = self.moments if self.normalize_obs else Moments.empty(len(self.moments.mean))
        streams = members
        if hasattr(self.strategy, "streams"):
            streams = np.append(self.strategy.streams(self.state), size)[members]
        played = self._rollout(params_of, members, episodes, rollout_key, scaling, members < size, streams=streams)
        returns = played.returns.reshape(-1, len(members))  # of each variant
        trained, evaluated = returns[:, evaluating:], returns[:, :evaluating]
        by_variant = trained.reshape(-1, size, self.episodes).mean(axis=2)
        combine = FITNESS[self.variant_fitness]
        fitness = combine(by_variant)
        if evaluating:
            mean = jax.device_put(self._mean(self.state), jax.local_devices()[0])
            self._deploy(mean, scaling, float(combine(evaluated.mean(axis=1))))
        self.state, metrics = self._update(self.state, sample_key, jnp.asarray(fitness))
        if self.normalize_obs:
            self.moments = self.moments.merge(played.moments)
        self.generation += 1
        self.num_timesteps += played.env_steps
        lengths = played.lengths.reshape(-1, len(members))
        finite = _finite(fitness)
        row = {
            "time/iterations": self.generation,
            "time/total_timesteps": self.num_timesteps,
            "rollout/ep_rew_mean": float(finite.mean()),
            "rollout/return_std": float(finite.std()),
            "rollout/return_max": float(finite.max()),
            "rollout/ep_len_mean": float(lengths[:, evaluating:].mean()),
            "rollout/diverged": int((~np.isfinite(fitness)).sum()),
        }
        if evaluating:
            row["eval/mean_reward"] = self.last_mean_reward
            row["eval/std_reward"] = float(evaluated.std())
            row["eval/mean_ep_length"] = float(lengths[:, :evaluating].mean())
        for i, name in enumerate(self.variants.names):
            row[f"rollout/ep_rew_mean/{name}"] = float(_finite(by_variant[i]).mean())
            if evaluating:
                row[f"eval/mean_reward/{name}"] = float(evaluated[i].mean())
        row |= {f"train/{name}": float(getattr(self.state, name)) for name in self.schedules}
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

    @functools.cached_property
    def _rollout(self) -> Rollout:
        assert self.env is not None
        return make_rollout(self.network, [self.env, *self.other_envs], self.chunk_steps, self.shared_start)

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """Write everything needed to go on exactly, to one zip of safetensors and JSON (".zip" is added)."""
        del exclude, include
        model_file.save(self, path)

    @classmethod
    def load(  # type: ignore[override]
        cls, path: Any, env: Any = None, device: str = "cpu", custom_objects: dict[str, Any] | None = None, **kwargs: Any
    ) -> Self:
        """Read a model written by `save`; with `env`, it can go on learning. `CheckpointError` for other files.

        :param custom_objects: stand in for what cannot be unpickled in files of other algorithms; here nothing is pickled
        """
        del custom_objects
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


def _finite(returns: np.ndarray) -> np.ndarray:
    """Those that are numbers, or a single NaN when none is."""
    finite = returns[np.isfinite(returns)]
    return finite if len(finite) else np.full(1, np.nan)
