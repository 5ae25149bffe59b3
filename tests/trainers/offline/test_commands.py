"""`python -m trainers.offline` from the behaviour to the table, interrupted and resumed, and what it says when it cannot."""

import csv
import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import yaml

from trainers.experiment.commands import COMMANDS
from trainers.experiment.folders import finished, read_progress
from trainers.experiment.grid import expand
from trainers.experiment.reading import find_file, read
from trainers.offline.__main__ import main
from trainers.offline.config import options_of, parse, train_defaults
from trainers.offline.evaluate import label
from trainers.offline.run import RunCallback, load_run
from trainers.report.__main__ import main as report

pytest.importorskip("minari")

TINY = ["--net-arch", "8", "--vae-arch", "8", "--batch-size", "16", "--eval-every", "20", "--eval-episodes", "2"]
DATASET = ["--env", "Pendulum-v1", "--dataset", "Pendulum-v1/td3-v0"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a behaviour's run and its dataset."""
    folder = tmp_path_factory.mktemp("offline")
    os.environ["MINARI_DATASETS_PATH"] = str(folder / "datasets")
    line = ["behavior", "--env", "Pendulum-v1", "--n-timesteps", "600", "--eval-every", "300", "--eval-episodes", "1"]
    assert main([*line, "--no-progress", "--log-folder", str(folder)]) == 0
    line = ["collect", str(folder / "behavior/td3_Pendulum-v1_1"), "--steps", "700", "--no-progress"]
    assert main(line) == 0
    return folder


@pytest.fixture(autouse=True)
def datasets(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(place / "datasets"))


def _train(place: Path, *words: str, steps: int = 60) -> int:
    line = ["train", *DATASET, *TINY, "--gradient-steps", str(steps), "--no-progress", "--log-folder", str(place)]
    return main([*line, *words])


def test_a_label_names_what_departs_from_the_mode() -> None:
    run = train_defaults("Hopper-v5", "acsf")
    assert label(dataclasses.replace(run, net_arch=[256, 256], vae_arch=[750, 750])) == "acsf"  # those of the mode
    changed = dataclasses.replace(run, net_arch=[64, 64], time_steps=8, policy_kwargs={"critic": "mlp"})
    assert label(changed) == "acsf T=8 net_arch=[64, 64] critic=mlp"


def test_from_the_behaviour_to_the_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    behavior = place / "behavior/td3_Pendulum-v1_1"
    assert {"best_model.zip", "model.zip", "config.yml", "progress.csv"} <= {p.name for p in behavior.iterdir()}
    for mode in ("acsf", "bc"):
        for seed in ("0", "1"):
            assert _train(place, "--mode", mode, "--seed", seed) == 0
    run = place / "offline/acsf_Pendulum-v1_1"
    files = {"config.yml", "metrics.csv", "checkpoint.zip", "model.zip", "best_model.zip", "learning_curve.png"}
    assert files <= {p.name for p in run.iterdir()}
    with open(run / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["time/total_timesteps"] for row in rows] == ["20", "40", "60"]
    assert all(row["eval/mean_reward"] for row in rows)
    capsys.readouterr()
    out = place / "table"
    line = ["evaluate", str(place / "offline"), "--episodes", "2", "--out", str(out), "--video", str(place / "film.gif")]
    assert main([*line, "--video-steps", "5"]) == 0
    printed = capsys.readouterr().out
    assert "film.gif: 5 frames" in printed
    with open(out / "table.csv") as file:
        table = {row["label"].split()[0]: row for row in csv.DictReader(file)}
    assert table["acsf"]["seeds"] == table["bc"]["seeds"] == "2"
    assert (table["acsf"]["T"], table["bc"]["T"]) == ("4", "1")
    assert float(table["acsf"]["decision_uJ"]) > 0.1 * float(table["acsf"]["actor_nJ"])  # 100 candidates
    assert 0 < float(table["acsf"]["rate"]) < 1
    assert -1 <= float(table["acsf"]["agreement"]) <= 1
    assert table["bc"]["agreement"] == ""
    _, model = load_run(run)
    returns = model.evaluate(2, 1000).mean()
    scores = [float(table["acsf"][name]) for name in ("return", "score")]
    assert np.isfinite([returns, *scores]).all()
    assert "| acsf net_arch=[8] vae_arch=[8] | Pendulum-v1 | 2 |" in (out / "table.md").read_text()
    report([str(place / "offline"), "--out", str(place / "report")])
    assert {"acsf", "bc"} <= {row.split(",")[1] for row in (place / "report/table.csv").read_text().splitlines()}


def test_an_interrupted_run_goes_on_to_the_same_end(place: Path, capsys, monkeypatch) -> None:
    assert _train(place, "--mode", "rate", "--folder", str(place / "whole")) == 0
    with monkeypatch.context() as patched:

        def interrupt(self: RunCallback) -> bool:
            if self.num_timesteps == 30:
                os.kill(os.getpid(), signal.SIGINT)
            return True

        patched.setattr(RunCallback, "_on_step", interrupt)
        assert _train(place, "--mode", "rate", "--folder", str(place / "half")) == 130
    assert f"Interrupted after step 30. Go on with: python -m trainers.offline train --resume {place / 'half'}" in (
        capsys.readouterr().out
    )
    assert not finished(place / "half")
    assert main(["train", "--resume", str(place / "half"), "--no-progress"]) == 0
    assert finished(place / "half")
    progress = read_progress(place / "half")
    assert progress is not None
    assert (progress.steps, progress.fraction) == (60, 1.0)
    for name, value in load_run(place / "whole")[1].policy.state_dict().items():
        np.testing.assert_array_equal(load_run(place / "half")[1].policy.state_dict()[name], value)
    assert main(["train", "--resume", str(place / "half"), "--batch-size", "7"]) == 2
    assert f"batch_size was 16 in '{place / 'half'}' and cannot be 7 when resuming" in capsys.readouterr().err
    assert main(["train", "--resume", str(place / "half"), "--gradient-steps", "80", "--no-progress"]) == 0


def test_a_study_does_each_stage_once(place: Path, capsys) -> None:
    line = ["study", "--env", "Pendulum-v1", "--modes", "bc", "--seeds", "0", "1", "--behavior-steps", "400", "--steps", "400"]
    line += ["--gradient-steps", "20", "--folder", str(place / "study"), "--no-progress"]
    assert main(line) == 0
    first = capsys.readouterr().out
    assert main(line) == 0
    second = capsys.readouterr().out
    assert first.count("bc: BC on Pendulum-v1/td3-study-v0") == 2
    assert "bc: BC" not in second
    assert "TD3 on" not in second
    assert (place / "study/table.md").is_file()


def test_replay_buffers_are_read_when_they_are_trusted(place: Path, capsys) -> None:
    from stable_baselines3 import TD3

    model = TD3("MlpPolicy", "Pendulum-v1", learning_starts=10**6, buffer_size=300, seed=0).learn(250)
    model.save_replay_buffer(place / "buffer.pkl")
    dataset = ["--dataset", str(place / "buffer.pkl"), "--mode", "bc", "--folder", str(place / "from_buffer")]
    assert _train(place, *dataset) == 2
    assert "add --trust-pickle" in capsys.readouterr().err
    assert _train(place, *dataset, "--trust-pickle") == 0
    assert "250 transitions" in capsys.readouterr().out


def test_experiments_of_offline_runs(tmp_path: Path) -> None:
    runs = expand(read(find_file("offline_ablations", "experiments")))
    assert len(runs) == 14 * 3
    run = next(run for run in runs if run.label == "ACSF T=16")
    config = parse(run.words)
    assert (config.dataset, config.time_steps, config.gradient_steps) == ("Hopper-v5/td3-v0", 16, 500000)
    assert options_of(config)[3]["n_timesteps"] == 16
    small = expand(read(find_file("offline_small", "experiments")))[0]
    assert options_of(parse(small.words))[3]["net_arch"] == [64, 64]
    assert COMMANDS[small.algorithm].words == ("trainers.offline", "train")
    path = tmp_path / "wrong.yml"
    wrong = {"name": "x", "seeds": [0], "environments": ["Pendulum-v1"], "algorithms": {"A": {"algorithm": "offline"}}}
    path.write_text(yaml.safe_dump(wrong | {"common": {"gradient_step": 3}}))
    with pytest.raises(ValueError, match=r"wrong\.yml:\d+: offline has no option 'gradient_step'\. Did you mean"):
        expand(read(path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["trian"], "Unknown command 'trian'. Did you mean 'train'"),
        (["train", "--mode", "acfs"], "Unknown mode 'acfs'. Did you mean 'acsf'"),
        (["train", "--mode", "bc", "--fidelity", "original"], "bc is not in the released code"),
        (["train"], "Give --dataset"),
        (["train", "--dataset", "Pendulum-v1/td3-v0", "--env", "Hopper-v5"], "but Hopper-v5 in"),
        (["train", "--dataset", "Pendulum-v1/td3-v0", "--env", "CartPole-v1"], "but CartPole-v1 in"),
        (["train", *DATASET, "--mode", "bc", "--time-steps", "4"], "bc has none"),
        (["train", *DATASET, "--arguments", "lmda:0.5"], "has no option 'lmda'"),
        (["train", "--resume", "nowhere"], "'nowhere' is not a run of"),
        (["behavior", "--algo", "td4"], "Unknown algo 'td4'. Did you mean 'td3'"),
        (["behavior", "--env", "CartPole-v1"], "need a Box"),
        (["collect", "nowhere.zip"], "There is no 'nowhere.zip'; give the folder"),
        (["evaluate", "nowhere"], "'nowhere' holds no run"),
    ],
)
def test_bad_input_is_answered_in_one_sentence(line: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
