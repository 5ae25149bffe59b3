"""Evolution on toy objectives: through the ordinary classes and commands, played in one program."""

from pathlib import Path

import gymnasium
import jax
import numpy as np
import pytest
import yaml
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from policies.population import make_network
from trainers import checkpoint, cli
from trainers.config import defaults
from trainers.dc import DC
from trainers.ec import EC
from trainers.es import ES
from trainers.make_env import make_vec_env
from trainers.rollout import Moments, make_rollout
from trainers.rollout.jitted import JittedRollout
from trainers.rollout.vec_env import VecEnvRollout
from trainers.satr import SATR
from trainers.strategies import EvolvingConnectivity

SMALL = {"env_kwargs": {"size": 16}, "population_size": 24, "eval_episodes": 1, "normalize_obs": False, "seed": 3}


def _build(cls, env: str = "HalfOneMax", **kwargs):
    if cls is DC:
        kwargs = {"num_distributions": 2, "crossover_every": 2} | kwargs
    return cls("PointPolicy" if cls is ES else "BitsPolicy", env, **(SMALL | kwargs))


def test_one_program_plays_what_slots_of_environments_play() -> None:
    env = make_vec_env("Deceptive", 3, 0, {"size": 16})
    network = make_network("BitsPolicy", 1, 16)
    strategy = EvolvingConnectivity(24)
    params_of = jax.tree_util.Partial(strategy.sample, strategy.init(None, network.kernels), jax.random.key(1))
    fast, slow = make_rollout(network, [env]), VecEnvRollout(network, env)
    assert isinstance(fast, JittedRollout)
    members = np.arange(24)
    played = [play(params_of, members, 0 * members, jax.random.key(2), Moments.empty(1)) for play in (fast, slow)]
    np.testing.assert_array_equal(played[0].returns, played[1].returns)
    assert len(set(played[0].returns)) > 3
    assert played[0].env_steps == played[1].env_steps == 24
    assert played[0].moments.mean == played[1].moments.mean == [1.0]


def test_every_way_to_give_a_toy_but_processes_is_played_in_one_program() -> None:
    for env in ("HalfOneMax", gymnasium.make("HalfOneMax-v0", size=16)):
        assert make_vec_env(env, 2, 0, {"size": 16} if isinstance(env, str) else {}).task.action_size == 16
    assert type(make_vec_env("CartPole-v1", 1, 0, {})) is DummyVecEnv


class _StopAfter(BaseCallback):
    def __init__(self, generations: int) -> None:
        super().__init__()
        self.generations = generations

    def _on_step(self) -> bool:
        return self.n_calls < self.generations


@pytest.mark.parametrize("cls", [DC, SATR])
def test_a_loaded_model_goes_on_exactly(cls, tmp_path: Path) -> None:
    """Interrupted before a generation of crossover and resumed, against the run that was never stopped."""
    schedule = {"learning_rate": "lin_0.3"} if cls is DC else {}
    whole = _build(cls, **schedule).learn(generations=4)
    half = _build(cls, **schedule)
    half.learn(generations=4, callback=_StopAfter(1))
    half.save(tmp_path / "half")
    loaded = cls.load(tmp_path / "half", "HalfOneMax").learn(generations=4, reset_num_timesteps=False)
    whole.save(tmp_path / "whole")
    loaded.save(tmp_path / "loaded")
    a, b = checkpoint.load(tmp_path / "whole.zip")[0], checkpoint.load(tmp_path / "loaded.zip")[0]
    assert a.keys() == b.keys()
    for name in a.keys() - {"history/time/seconds", "history/time/fps"}:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    if cls is DC:
        assert {"es/entropy_0", "es/entropy_1", "es/distance"} <= whole.history[0].keys()
        assert sum(row["es/children_kept"] for row in whole.history) > 0


@pytest.mark.parametrize(("cls", "generations"), [(EC, 25), (DC, 40), (SATR, 25)])
def test_half_one_max_is_solved(cls, generations: int) -> None:
    model = _build(cls, population_size=48).learn(generations=generations)
    assert model.history[-1]["eval/mean_reward"] == model.get_env().envs[0].unwrapped.optimum == 8


def test_es_finds_the_point_of_the_quadratic() -> None:
    model = _build(ES, "Quadratic", learning_rate=0.1, sigma=0.1, weight_decay=0.0).learn(generations=60)
    action, _ = model.predict(np.ones(1, np.float32))
    assert model.history[-1]["eval/mean_reward"] > -0.1
    np.testing.assert_allclose(action, model.get_env().envs[0].unwrapped.solution, atol=0.2)


@pytest.mark.parametrize("algorithm", ["dc", "satr"])
def test_the_commands_choose_bits_for_toys_and_leave_a_run(algorithm: str, tmp_path: Path, capsys) -> None:
    args = ["--env", "HalfOneMax", "--env-kwargs", "size:16", "--generations", "2", "--population-size", "16"]
    cli.main(algorithm, [*args, "--log-folder", str(tmp_path), "--no-progress"])
    folder = tmp_path / algorithm / "HalfOneMax-v0_1"
    assert yaml.safe_load((folder / "config.yml").read_text())["config"]["policy"] == "BitsPolicy"
    assert (folder / "best_model.zip").is_file()
    assert "Return after:" in capsys.readouterr().out


@pytest.mark.parametrize("env", ["HalfOneMax", "quadratic", "Deceptive-v0"])
def test_toys_are_known_by_their_names(env: str) -> None:
    assert defaults("es", env).policy == "PointPolicy"
    assert {defaults(algorithm, env).policy for algorithm in ("ec", "dc", "satr")} == {"BitsPolicy"}


def test_wrong_combinations_are_refused_in_a_sentence(capsys) -> None:
    for cls, name in ((DC, "DC"), (SATR, "SATR")):
        with pytest.raises(ValueError, match=f"{name} needs a network with boolean synapses; 'PointPolicy' has none"):
            cls("PointPolicy", "HalfOneMax", population_size=16)
    with pytest.raises(ValueError, match="ES needs real-valued weights; BitsPolicy has boolean ones"):
        ES("BitsPolicy", "HalfOneMax", population_size=8)
    with pytest.raises(ValueError, match="size=7 must be a multiple of 2 for half_one_max"):
        EC("BitsPolicy", "HalfOneMax", population_size=8, env_kwargs={"size": 7})
    with pytest.raises(SystemExit, match="2"):
        cli.main("dc", ["--env", "HalfOneMax", "--crossover", "randompick", "--log-folder", "/nowhere"])
    assert "Did you mean 'random_pick'" in capsys.readouterr().err
