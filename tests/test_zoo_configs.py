"""The entries of zoo_configs for rl_zoo3, through rl_zoo3 itself."""

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import yaml

import envs  # noqa: F401
import policies  # noqa: F401
import zoo_configs
from policies.sb3.common import SpikingPolicy

FOLDER = Path(zoo_configs.__path__[0])
FILES = ("td3", "ddpg", "sac", "ppo", "dqn")
ENTRIES = [(algo, env) for algo in FILES for env in yaml.safe_load((FOLDER / f"{algo}.yml").read_text()) if env != "default"]
BOX = {"HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5", "DamagedAnt-v0", "RobotTrajectory-v0", "Pendulum-v1"}
IDS = {"td3": BOX, "ddpg": BOX, "sac": BOX, "ppo": BOX | {"CartPole-v1"}, "dqn": {"CartPole-v1"}}


def test_every_environment_has_an_entry_where_its_actions_fit() -> None:
    assert {algo: {env for a, env in ENTRIES if a == algo} for algo in FILES} == IDS


@pytest.mark.parametrize(("algo", "env"), ENTRIES)
def test_rl_zoo3_makes_a_spiking_model_of_every_entry(algo: str, env: str, tmp_path: Path) -> None:
    manager = pytest.importorskip("rl_zoo3.exp_manager")
    config = str(FOLDER / f"{algo}.yml")
    experiment = manager.ExperimentManager(Namespace(), algo, env, str(tmp_path), config=config, device="cpu", verbose=0)
    model, _ = experiment.setup_experiment()
    assert isinstance(model.policy, SpikingPolicy)
    model.env.close()


@pytest.mark.parametrize("algo", ["td3", "dqn"])
def test_rl_zoo3_trains_and_enjoys(algo: str, tmp_path: Path) -> None:
    pytest.importorskip("rl_zoo3")
    env = "Pendulum-v1" if algo == "td3" else "CartPole-v1"
    common = ["--algo", algo, "--env", env, "-n", "300", "--device", "cpu", "--num-threads", "1", "--gym-packages", "envs"]
    common += ["policies", "-f", str(tmp_path)]
    train = ["--conf-file", str(FOLDER / f"{algo}.yml"), "--eval-freq", "-1", "--hyperparams", "learning_starts:200"]
    for script, options in (("train", train), ("enjoy", ["--no-render"])):
        line = [sys.executable, "-m", f"rl_zoo3.{script}", *common, *options]
        done = subprocess.run(line, cwd=FOLDER.parent, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert "Mean reward" in done.stdout
