"""`python -m trainers.evaluate` on models of Stable-Baselines3."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import A2C, DDPG, PPO, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize

from trainers.evaluate import main
from trainers.sb3_model import find_algorithm, load_model
from trainers.spiking_td3 import SpikingTD3

SMALL = {"net_arch": [8, 8]}


class OwnPolicy(ActorCriticPolicy):
    """A policy that no algorithm has a name for."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    PPO("SpikingPolicy", "CartPole-v1", policy_kwargs=SMALL, seed=0).save(folder / "ppo/CartPole-v1_1/best_model")
    PPO("MlpPolicy", "CartPole-v1", policy_kwargs=SMALL, seed=0).save(folder / "mlp")
    return folder


def test_returns_energy_raster_and_video(folder: Path, tmp_path: Path, capsys) -> None:
    """The folder that rl_zoo3 names tells the environment, the policy tells the algorithm."""
    raster, video = tmp_path / "pictures/raster.png", tmp_path / "out.gif"
    args = ["--episodes", "3", "--energy", "--raster", str(raster), "--video", str(video), "--video-steps", "5"]
    main([str(folder / "ppo/CartPole-v1_1/best_model.zip"), *args])
    printed = capsys.readouterr().out
    assert "CartPole-v1, PPO SpikingActorCriticPolicy: return " in printed
    assert "over 3 episodes" in printed
    assert "without spikes" in printed
    assert "layer 1" in printed
    assert raster.read_bytes()[:4] == b"\x89PNG"
    assert video.stat().st_size > 0


def test_policies_of_stable_baselines_tell_their_algorithm(folder: Path, capsys) -> None:
    main([str(folder / "mlp.zip"), "--env", "CartPole-v1", "--episodes", "2"])
    assert "PPO ActorCriticPolicy: return" in capsys.readouterr().out


def test_other_policies_need_algo(tmp_path: Path, capsys) -> None:
    PPO(OwnPolicy, "CartPole-v1", policy_kwargs=SMALL, seed=0).save(tmp_path / "own")
    args = [str(tmp_path / "own.zip"), "--env", "CartPole-v1", "--episodes", "2"]
    with pytest.raises(SystemExit):
        main(args)
    assert "does not tell its algorithm; give algo, one of td3" in capsys.readouterr().err
    main([*args, "--algo", "ppo"])
    assert "PPO OwnPolicy: return" in capsys.readouterr().out


def test_statistics_are_found_by_the_home_environment(tmp_path: Path) -> None:
    """A model of the ant played in the damaged ant sees observations as in its training."""
    env = VecNormalize(make_vec_env("Ant-v5", 1))
    run = tmp_path / "ppo/Ant-v5_1"
    (run / "Ant-v5").mkdir(parents=True)
    env.save(str(run / "Ant-v5/vecnormalize.pkl"))
    PPO("MlpPolicy", env, policy_kwargs=SMALL).save(run / "best_model")
    _, env_id, loaded = load_model(run / "best_model.zip", "DamagedAnt-v0", None, 1, 0, {})
    assert env_id == "DamagedAnt-v0"
    assert isinstance(loaded, VecNormalize)


@pytest.mark.parametrize(
    ("model", "args", "sentence"),
    [
        ("mlp.zip", [], "does not tell its environment; give env"),
        ("mlp.zip", ["--algo", "poo"], "Unknown algorithm 'poo'. Did you mean 'ppo'"),
        ("mlp.zip", ["--algo", "ppo", "--env", "CartPole-v1", "--energy"], "has no spiking network"),
        ("ppo/CartPole-v1_1/best_model.zip", ["--env", "Pendulum-v1"], "spaces do not match"),
        ("ppo/CartPole-v1_1/best_model.zip", ["--raster", "x.txt"], "must end in .png, .pdf or .svg"),
        ("ppo/CartPole-v1_1/best_model.zip", ["--vec-normalize", "x.pkl"], "no file 'x.pkl'"),
        ("text.zip", [], "is not a model of Stable-Baselines3"),
        ("ppo", [], "is not a run folder"),
    ],
)
def test_bad_input_exits_with_2(folder: Path, capsys, model: str, args: list[str], sentence: str) -> None:
    (folder / "text.zip").write_text("text")
    with pytest.raises(SystemExit) as exit:
        main([str(folder / model), *args])
    assert exit.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("algorithm", [A2C, PPO, DDPG, TD3, SpikingTD3])
def test_loaded_models_act_as_saved_ones(algorithm: type, tmp_path: Path) -> None:
    saved = algorithm("SpikingPolicy", "Pendulum-v1", policy_kwargs=SMALL)
    saved.save(tmp_path / "model")
    assert find_algorithm(tmp_path / "model.zip") is {A2C: PPO, DDPG: TD3}.get(algorithm, algorithm)
    loaded, env_id, _ = load_model(tmp_path / "model.zip", "Pendulum-v1", None, 2, 0, {})
    assert env_id == "Pendulum-v1"
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(x, deterministic=True)[0], saved.predict(x, deterministic=True)[0])


def test_statistics_of_rl_zoo3_are_used(tmp_path: Path) -> None:
    env = VecNormalize(make_vec_env("Pendulum-v1", 1))
    env.obs_rms.mean = np.array([7.0, 8.0, 9.0])
    run = tmp_path / "td3/Pendulum-v1_1"
    (run / "Pendulum-v1").mkdir(parents=True)
    env.save(str(run / "Pendulum-v1/vecnormalize.pkl"))
    TD3("SpikingPolicy", env, policy_kwargs=SMALL).save(run / "Pendulum-v1")
    _, env_id, loaded = load_model(run / "Pendulum-v1.zip", None, None, 2, 0, {})
    assert env_id == "Pendulum-v1"
    assert isinstance(loaded, VecNormalize)
    assert not loaded.training
    assert not loaded.norm_reward
    np.testing.assert_array_equal(loaded.obs_rms.mean, [7.0, 8.0, 9.0])
    assert gymnasium.make(env_id).observation_space == loaded.observation_space


def test_robots_are_drawn_in_software_where_opengl_is_missing(tmp_path: Path, monkeypatch, capsys) -> None:
    def broken(self) -> None:
        raise RuntimeError("no context")

    monkeypatch.setattr("gymnasium.envs.mujoco.mujoco_env.MujocoEnv.render", broken)
    PPO("MlpPolicy", "Hopper-v5", n_steps=8, batch_size=8, policy_kwargs={"net_arch": [8]}, seed=0).save(tmp_path / "ppo")
    video = tmp_path / "out.gif"
    film = ["--video", str(video), "--video-steps", "3"]
    main([str(tmp_path / "ppo.zip"), "--env", "Hopper-v5", "--algo", "ppo", "--episodes", "1", *film])
    assert "this is DamagedHopper-v0, the same robot, drawn in software" in capsys.readouterr().out
    assert video.stat().st_size > 1000
