"""Sweeps: what is drawn, what is stopped early, and going on after an interruption."""

import csv
from importlib import resources
from pathlib import Path

import pytest
import yaml

pytest.importorskip("optuna")

import optuna

from trainers.cli import parse
from trainers.experiment.folders import read_metrics
from trainers.experiment.grid import Run
from trainers.sweep import Trials, main, suggest

SPACE = {
    "sigma": [0.1, 0.2, 0.3],
    "learning_rate": {"low": 0.01, "high": 0.1, "log": True},
    "episodes": {"low": 1, "high": 3},
    "policy_kwargs.action_bounds": ["clip", "tanh"],
}
FIXED = ["policy=MlpPolicy", "policy_kwargs.hidden_sizes=[4]", "population_size=6", "generations=2", "eval_episodes=2"]


def test_values_are_drawn_from_the_space() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [suggest(study.ask(), SPACE) for _ in range(60)]
    assert {values["sigma"] for values in drawn} == {0.1, 0.2, 0.3}
    assert {values["episodes"] for values in drawn} == {1, 2, 3}
    assert all(0.01 <= values["learning_rate"] <= 0.1 for values in drawn)
    below = sum(values["learning_rate"] < 0.0316 for values in drawn)  # half of a logarithmic scale, a quarter of a plain one
    assert 20 < below < 40


def test_the_published_space_is_shipped_and_its_options_are_known() -> None:
    folder = resources.files("zoo_configs").joinpath("spaces")
    space = yaml.safe_load(folder.joinpath("ec.yml").read_text())
    assert space == {
        "learning_rate": [0.01, 0.05, 0.1, 0.15, 0.2],
        "eps": [1e-4, 1e-3, 0.01, 0.1, 0.2],
        "policy_kwargs.num_neurons": [128, 256],
    }
    for path in folder.iterdir():
        algorithm = path.name.removesuffix(".yml")
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        trials = Trials(study, yaml.safe_load(path.read_text()), Run("", "CartPole-v1", 7000, algorithm, {}), Path("x"), 2)
        _, second = trials
        config = parse(algorithm, second.run.words)
        assert config.seed == 7001
        for name, value in study.trials[1].params.items():
            option, _, key = name.partition(".")
            found = getattr(config, option)
            assert (found[key] if key else found) == value


def _evaluate(folder: Path, values: list[float]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text(yaml.safe_dump({"algorithm": "es", "config": {"generations": 9, "n_timesteps": None}}))
    with open(folder / "metrics.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time/iterations", "time/total_timesteps", "eval/mean_reward", "time/seconds", "time/fps"])
        writer.writerows([i + 1, 100 * i, value, 1.0, 1.0] for i, value in enumerate(values))


def test_a_trial_below_the_median_is_stopped_and_the_others_are_not(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(4, 3))
    trials = Trials(study, SPACE, Run("", "CartPole-v1", 0, "es", {}), tmp_path, 6)
    jobs = iter(trials)
    for level in (10.0, 20.0, 30.0, 40.0):
        job = next(jobs)
        _evaluate(job.folder, [level] * 4)
        job.refresh()
        trials.hopeless(job)
        job.state = "finished"
        trials.ended(job)
    assert [trial.value for trial in study.trials] == [10.0, 20.0, 30.0, 40.0]
    good, bad = jobs
    for job, values, hopeless in ((good, [1.0, 1.0, 35.0], False), (bad, [1.0, 1.0], False), (bad, [1.0, 1.0, 5.0], True)):
        _evaluate(job.folder, values)
        job.read = 0
        job.refresh()
        assert trials.hopeless(job) is hopeless
        assert trials.hopeless(job) is False  # there is no news
    bad.state = "pruned"
    trials.ended(bad)
    assert study.trials[-1].state.name == "PRUNED"
    assert study.trials[-1].intermediate_values == {1: 1.0, 2: 1.0, 3: 5.0}


def test_an_interrupted_trial_is_played_again_and_the_best_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.yml").write_text(yaml.safe_dump(SPACE))
    root = Path("runs/sweeps/small")
    root.mkdir(parents=True)
    study = optuna.create_study(study_name="small", storage=f"sqlite:///{root}/study.db", direction="maximize")
    left_behind = suggest(study.ask(), SPACE)
    line = ["es", "--env", "CartPole-v1", "--study", "small", "--space", "space.yml", "--trials", "2", "--jobs", "2"]
    with pytest.raises(SystemExit) as exit_:
        main([*line, *FIXED])
    assert exit_.value.code == 0
    printed = capsys.readouterr().out
    configs = [yaml.safe_load((root / f"trial_{n}/config.yml").read_text())["config"] for n in (0, 2)]
    assert [config["seed"] for config in configs] == [0, 2]  # 1 is Optuna's number of the second attempt
    assert configs[0]["sigma"] == left_behind["sigma"]
    assert configs[0]["policy_kwargs"] == {
        "hidden_sizes": [4], "action_bounds": left_behind["policy_kwargs.action_bounds"]
    }  # fmt: skip
    values = [float(read_metrics(root / f"trial_{n}")[-1]["eval/mean_reward"]) for n in (0, 2)]
    best = configs[0 if values[0] >= values[1] else 1]
    entry = yaml.safe_load((root / "best.yml").read_text())["CartPole-v1"]
    assert {name: best[name] for name in entry} == entry
    assert {"sigma", "learning_rate", "population_size", "policy"} <= set(entry)
    assert f"Best: return {max(values):.1f}" in printed
    before = sorted(root.rglob("*"))
    with pytest.raises(SystemExit) as exit_:
        main([*line, *FIXED])
    assert exit_.value.code == 0
    assert sorted(root.rglob("*")) == before
    with pytest.raises(SystemExit) as exit_:
        main([*line, *FIXED, "weight_decay=0.5"])
    assert exit_.value.code == 2
    assert "The study 'small' is another one: its fixed is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "space", "sentence"),
    [
        (["ess"], "", "Unknown algorithm 'ess'. Did you mean 'es'"),
        (["es"], "sigme: [1.0]", "es has no option 'sigme'. Did you mean 'sigma'"),
        (["es"], "sigma: 3", "sigma must be a list of values, or low, high and perhaps log, but is 3."),
        (["es"], "sigma: {low: 2, high: 1}", "sigma must be a list"),
        (["es"], "sigma: [true]", "sigma is True, but must be float | str."),
        (["es", "sigma=0.1"], "sigma: [0.1]", "there is nothing to search"),
        (["es", "sigme=0.1"], "sigma: [0.1]", "command line: es has no option 'sigme'"),
        (["es", "sigma"], "sigma: [0.1]", "'sigma' is not of the form key=value"),
        (["es", "--trials", "0"], "sigma: [0.1]", "trials=0 must be at least 1"),
        (["es", "--pruner", "medan"], "sigma: [0.1]", "Unknown pruner 'medan'. Did you mean 'median'"),
    ],
)
def test_bad_input_is_answered_in_one_sentence(
    args: list[str], space: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("space.yml").write_text(space)
    with pytest.raises(SystemExit) as exit_:
        main([*args, "--env", "CartPole-v1", "--space", "space.yml"])
    assert exit_.value.code == 2
    assert sentence in capsys.readouterr().err
