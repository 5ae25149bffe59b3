"""Methods on the suite's scenarios, a few hundred steps of each."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from envs.continual.scenarios import load_scenario, scenario_names
from trainers.continual.__main__ import main
from trainers.continual.methods import METHODS
from trainers.continual.results import read_result

FLAGS = [
    *("--n-timesteps", "100", "--max-episode-steps", "20", "--n-envs", "2", "--eval-episodes", "2", "--repeat", "1"),
    *("--learning-starts", "20", "--random-steps", "10", "--net-arch", "16", "16", "--batch-size", "16", "--no-progress"),
]
FEW = {
    "rewire": ["select_episodes:2"],
    "csp": ["candidates:4", "states:4", "rollouts:2", "validation_steps:10"],
    "packnet": ["retrain_updates:5"],
    "ewc": ["samples:4"],
    "replay": ["samples:8", "batch_size:8"],
}
SPIKING = ("ft_1", "sac_n", "ft_n", "ft_l2", "ewc", "packnet", "replay")


def _run(method: str, scenario: str, folder: Path, *more: str) -> None:
    """Learn, and look at what is left."""
    arguments = ["--arguments", *FEW[method]] if method in FEW else []
    flags = ["--method", method, "--scenario", scenario, "--folder", str(folder), *FLAGS, *arguments, *more]
    assert main(flags) == 0
    result = read_result(folder)
    tasks = len(load_scenario(scenario, repeat=1).tasks)
    assert result.matrix.shape == (tasks + 1, tasks)
    assert np.isfinite(result.matrix).all()
    assert result.steps["train"] == tasks * 100
    assert (result.areas is not None) == (result.metric == "success")
    assert json.loads((folder / "result.json").read_text())["published"] >= 1_000_000


def _needs_metaworld(scenario: str) -> None:
    if scenario.startswith("continual_world") and importlib.util.find_spec("metaworld") is None:
        pytest.skip("Meta-World is an extra")


@pytest.mark.parametrize(
    ("method", "scenario"),
    [
        ("rewire", "halfcheetah/robustness"),
        ("ft_1", "damaged_ant/limbs"),
        ("packnet", "mixed/sensors"),
        ("csp", "continual_world/t1"),
    ],
)
def test_a_method_on_a_scenario(method: str, scenario: str, tmp_path: Path) -> None:
    _needs_metaworld(scenario)
    _run(method, scenario, tmp_path / "run")


def test_spiking_actors_learn_in_sequence(tmp_path: Path) -> None:
    _run("ewc", "mixed/sensors", tmp_path / "run", "--policy", "SpikingPolicy", "--policy-kwargs", "n_timesteps:2")


@pytest.mark.slow
@pytest.mark.parametrize("scenario", scenario_names())
@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_every_scenario(method: str, scenario: str, tmp_path: Path) -> None:
    _needs_metaworld(scenario)
    _run(method, scenario, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("method", SPIKING)
def test_every_method_for_spiking_actors(method: str, tmp_path: Path) -> None:
    _run(method, "damaged_ant/limbs", tmp_path / "run", "--policy", "SpikingPolicy", "--policy-kwargs", "n_timesteps:2")
