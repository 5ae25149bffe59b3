"""Continual runs as users start them: learned, stopped, resumed, compared."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from envs.continual.scenarios import Task
from trainers import checkpoint
from trainers.continual.__main__ import main
from trainers.continual.config import defaults, parse
from trainers.continual.loop import ContinualRun
from trainers.continual.methods import METHODS
from trainers.continual.worlds import make_world, play
from trainers.progress import INTERRUPTED

SMALL = [
    *("--n-envs", "2", "--eval-episodes", "2", "--learning-starts", "40", "--random-steps", "20", "--net-arch", "16", "16"),
    *("--batch-size", "16", "--n-timesteps", "120", "--save-every", "40", "--no-progress"),
]
OPTIONS = {
    "rewire": ["select_episodes:1"],
    "csp": ["candidates:4", "states:4", "rollouts:2", "validation_steps:10"],
    "packnet": ["retrain_updates:5"],
    "ewc": ["samples:4"],
    "replay": ["samples:8", "batch_size:8"],
}


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    """Two pendulums, the lighter one twice."""
    path = tmp_path / "pendulums.yml"
    tasks = [{"name": f"g{g}", "env_kwargs": {"g": g}} for g in (3.0, 10.0, 3.0)]
    path.write_text(yaml.safe_dump({"env": "Pendulum-v1", "tasks": tasks, "max_episode_steps": 20}))
    return str(path)


def _flags(method: str, scenario: str, folder: Path, *more: str) -> list[str]:
    arguments = ["--arguments", *OPTIONS[method]] if method in OPTIONS else []
    return ["--method", method, "--scenario", scenario, "--folder", str(folder), *SMALL, *arguments, *more]


def _state(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    return checkpoint.load(folder / "checkpoint.zip")


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    method: str, scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(_flags(method, scenario, tmp_path / "whole")) == 0
    save, saves = ContinualRun.save, []

    def dying(run: ContinualRun) -> None:
        save(run)
        saves.append(run.part)
        if len(saves) == 5:  # within the second task
            raise KeyboardInterrupt

    monkeypatch.setattr(ContinualRun, "save", dying)
    assert main(_flags(method, scenario, tmp_path / "stopped")) == INTERRUPTED
    monkeypatch.undo()
    assert main(["--resume", str(tmp_path / "stopped"), "--no-progress"]) == 0
    whole, resumed = _state(tmp_path / "whole"), _state(tmp_path / "stopped")
    assert whole[1] == resumed[1]
    assert whole[0].keys() == resumed[0].keys()
    for name, array in whole[0].items():
        np.testing.assert_array_equal(array, resumed[0][name], err_msg=name)


def test_every_task_is_played_before_the_first_and_after_each(scenario: str, tmp_path: Path) -> None:
    assert main(_flags("ft_n", scenario, tmp_path / "run")) == 0
    with open(tmp_path / "run/evaluations.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(int(r["after"]), int(r["task"])) for r in rows] == [(a, t) for a in (-1, 0, 1, 2) for t in range(3)]
    returns = np.array([float(r["return"]) for r in rows]).reshape(4, 3)
    assert returns[2, 0] == returns[1, 0] == returns[3, 0]  # ft_n keeps the first task's actor
    assert returns[0, 0] == returns[0, 2]  # the same task, the same actor, the same start states
    told = _state(tmp_path / "run")[1]["steps"]
    # Two environments play one episode of 20 steps each; the third task's actor differs from the first's after it is learned.
    assert told == {"train": 360, "selection": 0, "evaluation": 40 * (2 + 2 + 3 + 3)}
    with open(tmp_path / "run/curve.csv") as file:  # both environments end their episodes at once
        assert [int(row["steps"]) for row in csv.DictReader(file)] == list(range(40, 361, 40))
    for picture in ("heatmap.png", "curve.png"):
        assert (tmp_path / "run" / picture).stat().st_size > 1000
    scalars = EventAccumulator(str(tmp_path / "run")).Reload()
    told = {name: [event.value for event in scalars.Scalars(f"continual/{name}")] for name in ("performance", "forgetting")}
    np.testing.assert_allclose(told["performance"], [returns[i, :i].mean() for i in (1, 2, 3)], rtol=1e-6)
    assert told["forgetting"] == [0.0, 0.0, 0.0]


def test_selection_is_counted(scenario: str, tmp_path: Path) -> None:
    assert main(_flags("rewire", scenario, tmp_path / "run")) == 0
    assert _state(tmp_path / "run")[1]["steps"]["selection"] == 2 * (1 + 3) * 20  # before, and three modes after, twice


def test_ctrl_c_goes_back_to_the_last_checkpoint(scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = parse(_flags("ft_1", scenario, tmp_path / "run"))
    run = ContinualRun(config)
    run.open(tmp_path, [])
    taken = 0

    def count(tally: Any) -> bool:
        nonlocal taken
        taken += 2
        tally.taken += 2
        tally.interruption.requested = taken == 100
        return taken != 100

    monkeypatch.setattr("trainers.continual.loop.Tally._on_step", count)
    assert run.go()
    assert (run.task, run.part, run.steps["train"]) == (0, 2, 80)


def _make_chance_worse(path: Path) -> None:
    """So few steps teach nothing; returns before the first task become less than any that a pendulum can earn."""
    with open(path) as file:
        rows = list(csv.DictReader(file))
    with open(path, "w") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"return": "-5000"} if row["after"] == "-1" else row for row in rows)


def test_methods_are_compared_with_the_reference(scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for method in ("ft_1", "sac_n"):
        for seed in ("0", "1"):
            assert main(_flags(method, scenario, tmp_path / f"runs/{method}_{seed}", "--seed", seed)) == 0
            _make_chance_worse(tmp_path / f"runs/{method}_{seed}/evaluations.csv")
    capsys.readouterr()
    assert main(["report", str(tmp_path / "runs")]) == 0
    told = capsys.readouterr().out
    assert "sac_n" in told
    assert "nor above untrained" not in told
    with open(tmp_path / "runs/table.csv") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert float(rows["sac_n"]["performance, chance 0"]) == pytest.approx(1.0)
    assert float(rows["sac_n"]["forgetting"]) == 0.0
    assert float(rows["sac_n"]["size to act"]) == pytest.approx(3.0)
    assert float(rows["ft_1"]["seeds"]) == 2
    assert (tmp_path / "runs/heatmaps.png").stat().st_size > 1000
    twice = [str(tmp_path / f"runs/ft_1_{seed}") for seed in (0, 1)]
    (tmp_path / "runs/ft_1_1/config.yml").write_text((tmp_path / "runs/ft_1_0/config.yml").read_text())
    assert main(["report", *twice, "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "ft_1 was run twice with seed 0; the last of them by name is shown." in told
    with open(tmp_path / "table.csv") as file:
        (row,) = csv.DictReader(file)
    with open(f"{twice[1]}/evaluations.csv") as file:
        last = np.array([float(r["return"]) for r in csv.DictReader(file)][-3:])
    assert float(row["performance"]) == pytest.approx(last.mean())


def test_options_that_differ_are_rows_of_their_own(scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for weight in ("1", "50"):
        own = ["--arguments", "samples:4", f"coefficient:{weight}"]
        assert main([*_flags("ft_1", scenario, tmp_path / f"runs/ewc_{weight}"), "--method", "ewc", *own]) == 0
    (tmp_path / "runs/begun").mkdir()
    (tmp_path / "runs/begun/config.yml").write_text((tmp_path / "runs/ewc_1/config.yml").read_text())
    (tmp_path / "runs/heatmaps_2.png").write_bytes(b"of earlier groups")
    capsys.readouterr()
    assert main(["report", str(tmp_path / "runs")]) == 0
    told = capsys.readouterr().out
    assert f"Not finished, and left out: {tmp_path / 'runs/begun'}" in told
    with open(tmp_path / "runs/table.csv") as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {"ewc coefficient:1", "ewc coefficient:50"}
    assert not (tmp_path / "runs/heatmaps_2.png").exists()
    assert main(["report"]) == 2
    assert "Give at least one folder of runs" in capsys.readouterr().err


def test_a_study_asks_for_what_its_folders_hold(scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [flag for flag in SMALL if flag != "--no-progress"]
    study = ["study", "--scenario", scenario, "--methods", "ft_1", "--folder", str(tmp_path / "study"), "--no-progress", "--"]
    assert main([*study, *flags]) == 0
    written = (tmp_path / "study/ft_1_0/result.json").stat().st_mtime_ns
    assert main([*study, *flags]) == 0
    assert (tmp_path / "study/ft_1_0/result.json").stat().st_mtime_ns == written
    capsys.readouterr()
    assert main([*study, *flags, "--gamma", "0.5"]) == 2
    assert "gamma was 0.99 in" in capsys.readouterr().err


def test_the_tasks_of_a_run_stay_what_they_were(
    scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(Path(scenario).parent)
    assert main(_flags("ft_1", Path(scenario).name, tmp_path / "run")) == 0
    monkeypatch.chdir("/")
    assert main(["--resume", str(tmp_path / "run"), "--no-progress"]) == 0
    Path(scenario).write_text(Path(scenario).read_text().replace("g: 10.0", "g: 9.0"))
    capsys.readouterr()
    assert main(["--resume", str(tmp_path / "run"), "--no-progress"]) == 2
    assert "is of other tasks than those of" in capsys.readouterr().err


def test_what_was_learned_can_be_played_and_filmed(scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main(_flags("ft_n", scenario, folder)) == 0
    capsys.readouterr()
    assert main(["play", str(folder), "--episodes", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["1 g3.0", "2 g10.0", "3 g3.0"]
    assert lines[0][1:] != lines[2][1:]  # each task has an actor of its own
    film = ["play", str(folder), "--episodes", "3", "--video", str(tmp_path / "task.gif"), "--video-steps", "5"]
    assert main([*film, "--task", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == lines[1]
    assert (tmp_path / "task.gif").stat().st_size > 1000
    assert main(film) == 2
    assert "A video shows one task" in capsys.readouterr().err
    assert main(["play", str(folder), "--task", "g30.0"]) == 2
    assert "has no task 'g30.0'. Did you mean 'g3.0'" in capsys.readouterr().err


def test_a_scenario_of_a_file_keeps_its_own_steps(scenario: str) -> None:
    assert parse(["--scenario", scenario, "--profile", "quick"]).n_timesteps is None
    assert parse(["--scenario", "ant/transfer", "--profile", "quick"]).n_timesteps is not None


def test_success_must_be_told_by_the_environment(scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(scenario).write_text(Path(scenario).read_text() + "metric: success\n")
    assert main(_flags("ft_1", scenario, tmp_path / "run")) == 2
    assert "'g3.0' (Pendulum-v1) tells of none" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_published_options_stand_over_those_of_the_family() -> None:
    config = defaults("rewire", "halfcheetah/robustness")
    assert config.arguments["cycle"] == 2
    assert config.arguments["tau"] == 0.1
    assert (config.n_envs, config.target_multiplier, config.policy_delay) == (128, 2.0, 4)
    assert defaults("ewc", "ant/transfer").arguments["coefficient"] == 1e4
    quick = defaults("packnet", "ant/transfer", "quick")
    assert quick.n_timesteps is not None
    assert quick.n_timesteps < 100_000
    assert quick.arguments["retrain_updates"] < 10_000


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--method", "rewrite"], "Did you mean 'rewire'"),
        (["--scenario", "halfcheeta/forgetting"], "halfcheetah/forgetting"),
        (["--profile", "fast"], "published or quick"),
        (["--policy", "HebbianPolicy"], "MlpPolicy or SpikingPolicy"),
        (["--arguments", "taus:1"], "no option 'taus'"),
        (["--arguments", "n_tasks:3"], "no option 'n_tasks'"),
        (["--arguments", "tau:0"], "tau=0 must be positive"),
        (["--physics", "warp", "--scenario", "ant/transfer"], "Unknown physics 'warp'"),
        (["--n-envs", "0"], "n_envs=0 must be at least 1"),
        (["--batch-size", "0"], "batch_size=0 must be at least 1"),
        (["--eval-episodes", "0"], "eval_episodes=0 must be at least 1"),
        (["--update-ratio", "0"], "update_ratio=0.0 must be positive"),
        (["--net-arch", "16", "0"], "net_arch=(16, 0) must be sizes"),
        (
            ["--n-timesteps", "100", "--n-envs", "1"],
            "learning_starts=12800 leaves nothing to learn in the 100 steps of a task",
        ),
        (["--device", "gpu"], "Unknown device 'gpu'; give auto, cpu or cuda."),
        (["--method", "ewc", "--arguments", "coefficient:abc"], "'ewc' takes a number for coefficient, not 'abc'"),
        (["--method", "ft_1", "--policy-kwargs", "bla:3"], "The policy 'MlpPolicy' has no option 'bla'."),
        (["--policy", "SpikingPolicy"], "with SpikingPolicy go ft_1, sac_n, ft_n, ft_l2, ewc, packnet, replay."),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    flags: list[str], said: str, scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = flags if "--scenario" in flags else ["--scenario", scenario, *flags]
    assert main([*given, "--folder", str(tmp_path / "run"), "--no-progress"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_tasks_of_other_actions_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.yml"
    tasks = [{"name": "a", "env": "Pendulum-v1"}, {"name": "b", "env": "MountainCarContinuous-v0"}]
    path.write_text(yaml.safe_dump({"env": "Pendulum-v1", "tasks": tasks}))
    assert main(["--scenario", str(path), "--method", "ft_1", "--folder", str(tmp_path / "run")]) == 2
    assert "differ in their observations" in capsys.readouterr().err


def test_a_folder_that_is_no_run_and_other_flags_are_refused(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--resume", str(tmp_path)]) == 2
    assert "is not a run of" in capsys.readouterr().err
    assert main(_flags("ft_1", scenario, tmp_path / "run")) == 0
    assert main(["--resume", str(tmp_path / "run"), "--gamma", "0.5"]) == 2
    assert f"gamma was 0.99 in '{tmp_path / 'run'}' and cannot be 0.5 when resuming" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert "holds no finished run" in capsys.readouterr().err


def test_episodes_are_shared_out_and_start_alike() -> None:
    class Nothing(torch.nn.Module):
        def forward(self, obs: Any, deterministic: bool) -> Any:
            return obs.new_zeros(len(obs), 1)

    task = Task("earth", "Pendulum-v1", {})
    envs = [make_world(task, 30, n, 0) for n in (2, 3)]
    device = torch.device("cpu")
    two, three = play(envs[0], Nothing(), 4, 7, device), play(envs[1], Nothing(), 3, 7, device)
    assert two.returns.shape == (4,)
    assert two.steps == 2 * 60
    np.testing.assert_array_equal(two.returns[:2], three.returns[:2])
    np.testing.assert_array_equal(two.returns, play(envs[0], Nothing(), 4, 7, device).returns)
    assert np.isnan(two.success).all()
