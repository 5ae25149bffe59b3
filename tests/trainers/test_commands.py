"""The commands, as a user runs them: in a process of their own, in an empty folder."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from trainers import checkpoint
from trainers.config import CONFIGS, constructor_arguments, defaults
from trainers.run import read_run

TINY = ["--population-size", "8", "--policy-kwargs", "num_neurons:16", "--eval-episodes", "2", "--n-envs", "4"]


def _command(*args: str, cwd: Path, algorithm: str = "ec") -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", f"trainers.{algorithm}", *args]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=300)


def _start(*args: str, cwd: Path) -> subprocess.Popen:
    line = [sys.executable, "-m", "trainers.ec", *args]
    return subprocess.Popen(line, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _fitness(folder: Path) -> list[tuple[str, ...]]:
    with open(folder / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    return [tuple(value for name, value in row.items() if name not in ("time/seconds", "time/fps")) for row in rows]


def _assert_same_run(a: Path, b: Path) -> None:
    assert _fitness(a) == _fitness(b)
    first, second = checkpoint.load(a / "model.zip")[0], checkpoint.load(b / "model.zip")[0]
    for name in first.keys() - {"history/time/seconds", "history/time/fps"}:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """An uninterrupted run of 12 generations."""
    cwd = tmp_path_factory.mktemp("finished")
    done = _command("--env", "CartPole-v1", "--generations", "12", "--save-every", "2", *TINY, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "Return before:" in done.stdout
    assert "Return after:" in done.stdout
    return cwd / "runs/ec/CartPole-v1_1"


def test_a_run_leaves_what_it_promises(finished: Path) -> None:
    names = {p.name for p in finished.iterdir()}
    assert {"config.yml", "metrics.csv", "model.zip", "best_model.zip", "learning_curve.png", "checkpoints"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    config = yaml.safe_load((finished / "config.yml").read_text())
    assert config["config"]["population_size"] == 8
    assert config["config"]["env"] == "CartPole-v1"
    assert config["versions"]["jax"]
    assert len(_fitness(finished)) == 12


def test_killed_at_any_moment_and_resumed_is_the_uninterrupted_run(finished: Path, tmp_path: Path) -> None:
    process = _start("--env", "CartPole-v1", "--generations", "12", "--save-every", "2", *TINY, cwd=tmp_path)
    folder = tmp_path / "runs/ec/CartPole-v1_1"
    deadline = time.time() + 200
    while not (folder / "checkpoints/generation_000004.zip").exists() and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "model.zip").exists()
    done = _command("--resume", str(folder), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    _assert_same_run(finished, folder)


def test_ctrl_c_finishes_the_generation_saves_and_says_how_to_go_on(finished: Path, tmp_path: Path) -> None:
    process = _start("--env", "CartPole-v1", "--generations", "12", "--save-every", "100", *TINY, cwd=tmp_path)
    folder = tmp_path / "runs/ec/CartPole-v1_1"
    deadline = time.time() + 200
    while not (folder / "metrics.csv").exists() and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "--resume runs/ec/CartPole-v1_1" in output
    assert 1 <= len(_fitness(folder)) < 12
    assert _command("--resume", str(folder), cwd=tmp_path).returncode == 0
    _assert_same_run(finished, folder)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(finished: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    newest = sorted((folder / "checkpoints").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    done = _command("--resume", str(folder), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "not a whole spikegym checkpoint" in done.stdout
    _assert_same_run(finished, folder)


def test_evaluate_prints_and_films(finished: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "trainers.evaluate", str(finished), "--episodes", "3"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "over 3 episodes" in done.stdout
    bad = subprocess.run([*line, "--video", "x.txt"], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert bad.returncode == 2
    assert "must end in .mp4 or .gif" in bad.stderr


def test_a_run_that_was_never_evaluated_has_no_best(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run/best_model.zip").unlink()
    with pytest.raises(ValueError, match="give --model last"):
        read_run(tmp_path / "run", "best")
    assert read_run(tmp_path / "run", "last")[2] == tmp_path / "run/model.zip"


@pytest.mark.slow
def test_films_a_brax_robot(tmp_path: Path) -> None:
    args = ["--env", "Reacher", "--generations", "1", "--env-kwargs", "max_episode_steps:12", *TINY]
    done = _command(*args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    line = [sys.executable, "-m", "trainers.evaluate", "runs/ec/BraxReacher-v0_1", "--video", "out.mp4", "--video-steps", "9"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    import imageio.v3 as iio

    frames = iio.imread(tmp_path / "out.mp4")
    assert len(frames) == 9
    assert frames.std() > 5


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--env", "Humaniod"], "Did you mean 'Humanoid'"),
        (["--policy", "RSNPolicy"], "Did you mean 'RSNNPolicy'"),
        (["--env", "Hopper", "--env-kwargs", "physics:genralized"], "Did you mean 'generalized'"),
        (["--env", "Hopper", "--populaton-size", "3"], "population-size"),
        (["--env", "Hopper", "--population-size", "1"], "cannot be ranked"),
        (["--env", "Hopper", "--population-size", "7", "--antithetic"], "is odd"),
        (["--env", "Blackjack-v1"], "take flat Box, image (H, W, C; uint8) or Discrete"),
        (["--env", "CartPole-v1", "--policy", "MlpPolicy"], "EC needs a network with boolean synapses"),
        (["--resume", "nowhere"], "is not a run folder"),
        (["--env", "CartPole-v1", "--policy-kwargs", "neurons:3"], "Did you mean 'num_neurons'"),
    ],
)
def test_bad_input_exits_with_2_and_writes_nothing(args: list[str], sentence: str, tmp_path: Path) -> None:
    done = _command(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert sentence in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


def test_resume_with_a_changed_config_is_refused(finished: Path, tmp_path: Path) -> None:
    before = (finished / "config.yml").read_bytes()
    done = _command("--resume", str(finished), "--population-size", "16", cwd=tmp_path)
    assert done.returncode == 2
    assert "population_size was 8" in done.stderr
    assert (finished / "config.yml").read_bytes() == before


def test_help_reads_well(tmp_path: Path) -> None:
    done = _command("--help", cwd=tmp_path, algorithm="es")
    assert done.returncode == 0
    for text in ("--population-size", "Members per generation", "--sigma", "python -m trainers.es"):
        assert text in done.stdout


@pytest.mark.parametrize("algorithm", CONFIGS)
def test_every_yaml_entry_names_a_known_env_and_known_keys(algorithm: str) -> None:
    import inspect
    from importlib import resources

    from trainers.evolution import EvolutionAlgorithm
    from trainers.run import ALGORITHMS

    table = yaml.safe_load(resources.files("zoo_configs").joinpath(f"{algorithm}.yml").read_text())
    known = set(inspect.signature(ALGORITHMS[algorithm].__init__).parameters)
    known |= set(inspect.signature(EvolutionAlgorithm.__init__).parameters)
    for env in set(table) - {"default", "policies"}:
        config = defaults(algorithm, env)
        assert config.env == env
        assert set(constructor_arguments(config)) <= known
