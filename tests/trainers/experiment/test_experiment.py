"""An experiment as a user runs it: failures, Ctrl-C and going on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from trainers.experiment.folders import finished, read_metrics
from trainers.experiment.slots import free_gpus, make_slots

TINY = """\
name: tiny
seeds: [0]
environments: [CartPole-v1]
common: {population_size: 6, generations: 3, n_envs: 3, eval_episodes: 2, episodes: 1}
algorithms:
  wrong: {algorithm: ec, policy: MlpPolicy}
  ES: {algorithm: es, policy: MlpPolicy, policy_kwargs: {hidden_sizes: [4]}}
"""


def _line(*args: str) -> list[str]:
    return [sys.executable, "-m", "trainers.experiment", "tiny.yml", *args]


def _play(cwd: Path, *args: str) -> subprocess.CompletedProcess:
    return subprocess.run(_line(*args), cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """An experiment with one run that fails and one that does not."""
    cwd = tmp_path_factory.mktemp("experiment")
    (cwd / "tiny.yml").write_text(TINY)
    return cwd, _play(cwd, "--jobs", "1")


def test_a_failing_run_is_reported_and_stops_no_other(played: tuple[Path, subprocess.CompletedProcess]) -> None:
    cwd, done = played
    assert done.returncode == 1
    assert "failed: wrong/CartPole-v1/seed_0: error: EC needs a network with boolean synapses" in done.stderr
    assert "1 failed, 1 finished" in done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    run = cwd / "runs/tiny/ES/CartPole-v1/seed_0"
    assert {"config.yml", "metrics.csv", "model.zip", "learning_curve.png", "log.txt"} <= {p.name for p in run.iterdir()}
    assert len(read_metrics(run)) == 3
    assert finished(run)
    assert yaml.safe_load((cwd / "runs/tiny/experiment.yml").read_text())["seeds"] == [0]


def test_a_dry_run_prints_the_grid_and_writes_nothing(played: tuple[Path, subprocess.CompletedProcess]) -> None:
    cwd, _ = played
    before = sorted(cwd.rglob("*"))
    done = _play(cwd, "--dry-run", "seeds=[0, 1]", "--jobs", "3", "--cores-per-run", "1")
    assert done.returncode == 0, done.stderr
    assert "runs/tiny/ES/CartPole-v1/seed_0  finished" in done.stdout
    assert "runs/tiny/ES/CartPole-v1/seed_1  waiting" in done.stdout
    assert "python -m trainers.es --env CartPole-v1 --seed 1 --population-size 6" in done.stdout
    assert "4 runs, 3 at once on 1 cores each" in done.stdout
    assert sorted(cwd.rglob("*")) == before


def test_another_experiment_in_the_same_folder_is_refused(played: tuple[Path, subprocess.CompletedProcess]) -> None:
    cwd, _ = played
    before = (cwd / "runs/tiny/experiment.yml").read_bytes()
    for override, sentence in (
        ("common.episodes=2", "in which wrong/CartPole-v1/seed_0 has"),
        ("seeds=[1]", "with the run wrong/CartPole-v1/seed_0 that this one lacks"),
    ):
        done = _play(cwd, override, "--dry-run")
        assert done.returncode == 2
        assert "'runs/tiny' holds another experiment" in done.stderr
        assert sentence in done.stderr
    (cwd / "runs/other").mkdir()
    (cwd / "runs/other/thesis.txt").touch()
    done = _play(cwd, "name=other")
    assert done.returncode == 2
    assert "'runs/other' holds something else than an experiment" in done.stderr
    assert (cwd / "runs/tiny/experiment.yml").read_bytes() == before


def test_ctrl_c_lets_runs_save_and_the_same_command_goes_on(tmp_path: Path) -> None:
    text = TINY.replace("  wrong: {algorithm: ec, policy: MlpPolicy}\n", "").replace("generations: 3", "generations: 400")
    (tmp_path / "tiny.yml").write_text(text)
    process = subprocess.Popen(_line(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    run = tmp_path / "runs/tiny/ES/CartPole-v1/seed_0"
    deadline = time.time() + 200
    while not (run / "metrics.csv").exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.05)
    refused = _play(tmp_path)
    assert refused.returncode == 2
    assert "is in use" in refused.stderr
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 130
    assert "stopped, generation" in output
    assert "the same command goes on" in output
    done_before = len(read_metrics(run))
    assert 1 <= done_before < 400
    assert not finished(run)
    assert "python -m trainers.es --resume" in (run / "log.txt").read_text()


def test_slots_share_the_cores() -> None:
    cores = set(os.sched_getaffinity(0))
    (alone,) = make_slots(1, None)
    assert set(alone.cores) == cores
    pairs = make_slots(None, 1)
    assert len(pairs) == len(cores)
    assert {core for slot in pairs for core in slot.cores} == cores
    crowded = make_slots(2 * len(cores), 1)
    assert all(sum(core in slot.cores for slot in crowded) == 2 for core in cores)
    for jobs, width in ((0, None), (None, 0)):
        with pytest.raises(ValueError, match="must be at least 1"):
            make_slots(jobs, width)


def test_free_gpus_are_those_whose_memory_nobody_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Busy means that memory is taken, however idle the GPU looks."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '0, GPU-a, 3\\n1, GPU-b, 20000\\n2, GPU-c, 0\\n'\n")
    tool.chmod(0o755)
    (tmp_path / "jax_cuda12_plugin").mkdir()
    (tmp_path / "jax_cuda12_plugin/__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert free_gpus() == ["0", "2"]
    assert [slot.variables["CUDA_VISIBLE_DEVICES"] for slot in make_slots(None, None)] == ["0", "2"]
    shared = make_slots(4, 1)
    assert [slot.variables["CUDA_VISIBLE_DEVICES"] for slot in shared] == ["0", "2", "0", "2"]
    assert shared[0].variables["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,GPU-c")
    assert free_gpus() == ["2"]
