"""An experiment as a user runs it: failures, Ctrl-C and going on."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from trainers.experiment.__main__ import main
from trainers.experiment.folders import finished, read_metrics
from trainers.experiment.launcher import locked
from trainers.experiment.slots import free_gpus, make_slots
from trainers.offline.config import parse

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


def _main(*args: str) -> int:
    """The exit code of the command in this process."""
    with pytest.raises(SystemExit) as exit_:
        main(["tiny.yml", *args])
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """An experiment with one run that fails and one that does not."""
    cwd = tmp_path_factory.mktemp("experiment")
    (cwd / "tiny.yml").write_text(TINY)
    return cwd, subprocess.run(_line("--jobs", "1"), cwd=cwd, capture_output=True, text=True, timeout=400)


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


def test_a_dry_run_prints_the_grid_and_writes_nothing(
    played: tuple[Path, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cwd, _ = played
    monkeypatch.chdir(cwd)
    before = sorted(cwd.rglob("*"))
    assert _main("--dry-run", "seeds=[0, 1]", "--jobs", "3", "--cores-per-run", "1") == 0
    printed = capsys.readouterr().out
    assert "runs/tiny/ES/CartPole-v1/seed_0  finished" in printed
    assert "runs/tiny/ES/CartPole-v1/seed_1  waiting" in printed
    assert "python -m trainers.es --env CartPole-v1 --seed 1 --population-size 6" in printed
    assert "4 runs, 3 at once on 1 cores each" in printed
    assert sorted(cwd.rglob("*")) == before


def test_the_commands_that_a_dry_run_prints_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["offline_halfcheetah_small", "--dry-run"])
    (line,) = [
        x for x in capsys.readouterr().out.splitlines() if "--mode acsf --policy-kwargs vae:mlp" in x and "--seed 2" in x
    ]
    words = shlex.split(line)
    assert words[:4] == ["python", "-m", "trainers.offline", "train"]
    config = parse(words[4:])
    assert (config.env, config.seed, config.gradient_steps, config.net_arch) == ("HalfCheetah-v5", 2, 20_000, (64, 64))
    assert config.policy_kwargs == {"vae": "mlp"}


def test_another_experiment_in_the_same_folder_is_refused(
    played: tuple[Path, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cwd, _ = played
    monkeypatch.chdir(cwd)
    before = (cwd / "runs/tiny/experiment.yml").read_bytes()
    (cwd / "runs/other").mkdir()
    (cwd / "runs/other/thesis.txt").touch()
    for override, sentence in (
        ("common.episodes=2", "'runs/tiny' holds another experiment, in which wrong/CartPole-v1/seed_0 has"),
        ("seeds=[1]", "with the run wrong/CartPole-v1/seed_0 that this one lacks"),
        ("name=other", "'runs/other' holds something else than an experiment"),
    ):
        assert _main(override) == 2
        assert sentence in capsys.readouterr().err
    assert (cwd / "runs/tiny/experiment.yml").read_bytes() == before


def test_a_folder_that_holds_a_run_takes_no_other(
    played: tuple[Path, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from trainers import cli

    cwd, _ = played
    monkeypatch.chdir(cwd)
    folder = "runs/tiny/ES/CartPole-v1/seed_0"
    before = {path: path.stat().st_mtime_ns for path in Path(folder).iterdir()}
    with pytest.raises(SystemExit) as exit_:
        cli.main("es", ["--env", "CartPole-v1", "--policy", "MlpPolicy", "--population-size", "4", "--folder", folder])
    assert exit_.value.code == 2
    assert f"'{folder}' already holds a run; go on with --resume {folder}" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in Path(folder).iterdir()} == before


def test_ctrl_c_lets_runs_save_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = TINY.replace("  wrong: {algorithm: ec, policy: MlpPolicy}\n", "").replace("generations: 3", "generations: 120")
    (tmp_path / "tiny.yml").write_text(text)
    monkeypatch.chdir(tmp_path)
    process = subprocess.Popen(_line(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    run = tmp_path / "runs/tiny/ES/CartPole-v1/seed_0"
    deadline = time.time() + 300
    while not (run / "metrics.csv").exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    with pytest.raises(ValueError, match="'runs/tiny' is in use"), locked(Path("runs/tiny")):
        pass
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130, output
    assert "stopped, generation" in output
    assert "the same command goes on" in output
    assert 1 <= len(read_metrics(run)) < 120
    assert not finished(run)
    assert _main() == 0
    assert "ES/CartPole-v1/seed_0: finished, generation 120" in capsys.readouterr().out
    assert [int(row["time/iterations"]) for row in read_metrics(run)] == list(range(1, 121))


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
