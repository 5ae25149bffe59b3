"""`python -m trainers.adaptation`, on small models and short episodes."""

import csv
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import yaml
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO

from envs.brax.vec_env import BraxVecEnv
from trainers.adaptation.__main__ import main
from trainers.cli import main as evolve

SHORT = ["--env-kwargs", "max_episode_steps:40", "--at", "20", "--window", "5", "--episodes", "3", "--n-envs", "2"]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A GRU evolved on the cart and pole, and three models of Stable-Baselines3 for the ant."""
    folder = tmp_path_factory.mktemp("models")
    tiny = [
        "--population-size",
        "4",
        "--generations",
        "1",
        "--eval-episodes",
        "2",
        "--n-envs",
        "2",
        "--log-folder",
        str(folder),
    ]
    evolve("es", ["--env", "CartPole-v1", "--policy", "GRUPolicy", "--policy-kwargs", "hidden_size:4", *tiny])
    env = gymnasium.make("DamagedAnt-v0")
    arch = {"net_arch": [8]}
    PPO("SpikingPolicy", env, policy_kwargs={**arch, "stateful": True}, seed=0).save(folder / "ppo/DamagedAnt-v0_1/spiking")
    PPO("MlpPolicy", env, policy_kwargs=arch, seed=0).save(folder / "static")
    RecurrentPPO("MlpLstmPolicy", env, policy_kwargs={**arch, "lstm_hidden_size": 8}, seed=0).save(folder / "lstm")
    return folder


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path) as file:
        return list(csv.DictReader(file))


def test_all_studies_side_by_side(models: Path, tmp_path: Path, capsys) -> None:
    """The spiking model's folder tells the environment of all."""
    names = [str(models / "ppo/DamagedAnt-v0_1/spiking.zip"), f"plain={models / 'static.zip'}", str(models / "lstm.zip")]
    args = ["--variants", "damage=none,front_left_short", "--unseen", "damage=front_right_leg"]
    args += ["--damage", "front_right_leg", "--perturb", "shuffle", "--for", "3", *SHORT]
    for out in ("first", "second"):
        main([*names, *args, "--out", str(tmp_path / out)])
    first, second = tmp_path / "first", tmp_path / "second"
    printed = capsys.readouterr().out
    assert {p.name for p in first.iterdir()} == {
        "config.yml",
        *(
            f"{name}{end}"
            for name in ("variants", "damage_front_right_leg", "perturb_shuffle")
            for end in (".csv", ".png", "_episodes.csv")
        ),
    }
    for path in first.glob("*.csv"):
        assert path.read_bytes() == (second / path.name).read_bytes()

    variants = _rows(first / "variants.csv")
    assert [(row["policy"], row["environment"], row["note"]) for row in variants[:3]] == [
        ("spiking", "damage=none", ""),
        ("spiking", "damage=front_left_short", ""),
        ("spiking", "damage=front_right_leg", "unseen"),
    ]
    assert len(variants) == 9

    events = _rows(first / "damage_front_right_leg.csv")
    assert [row["event"] for row in events] == ["undisturbed", "front_right_leg@20"] * 3
    assert [row["note"] for row in events] == ["", "unseen"] * 3
    for calm, damaged in zip(events[::2], events[1::2], strict=True):
        assert calm["before"] == damaged["before"]
        assert calm["after"] != damaged["after"]
        assert float(damaged["before"]) + float(damaged["after"]) == pytest.approx(float(damaged["return"]))
    undamaged = [row for row in variants if row["environment"] == "damage=none"]
    assert [row["return"] for row in undamaged] == [row["return"] for row in events[::2]]

    perturbed = _rows(first / "perturb_shuffle.csv")
    notes = {row["policy"]: row["note"] for row in perturbed if row["event"] != "undisturbed"}
    assert notes == {"spiking": "", "plain": "no state: nothing to perturb", "lstm": ""}
    assert "plain    shuffle@20..22  no state: nothing to perturb" in printed

    header = yaml.safe_load((first / "config.yml").read_text())
    assert header["env"] == "DamagedAnt-v0"
    assert header["config"]["steps"] == 3
    assert header["config"]["models"][1].startswith("plain=")


def test_the_first_run_of_evolution_tells_the_environment(models: Path, tmp_path: Path, monkeypatch) -> None:
    """Without a limit given, results lie in a folder of their own; the reward of the cart is 1 a step."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        main(
            [str(models / "es/CartPole-v1_1"), "--perturb", "redraw", "zero", "--at", "5", "--window", "2", "--episodes", "3"]
        )
    first = tmp_path / "runs/adaptation/CartPole-v1_1"
    assert (tmp_path / "runs/adaptation/CartPole-v1_2/config.yml").is_file()
    rows = _rows(first / "perturb_redraw_episodes.csv")
    assert [row["seed"] for row in rows] == ["12345", "12346", "12347"] * 2
    for row in rows:
        assert float(row["return"]) == int(row["length"])
        assert float(row["before"]) == min(5, int(row["length"]))
    assert (first / "perturb_redraw.csv").read_text().replace("redraw", "zero") == (first / "perturb_zero.csv").read_text()


@pytest.mark.slow
def test_brax_robots(tmp_path: Path, capsys) -> None:
    model = str(tmp_path / "ppo/BraxReacher-v0_1/model.zip")
    PPO("MlpPolicy", BraxVecEnv("Reacher", 1), policy_kwargs={"net_arch": [8]}, seed=0).save(model)
    out = tmp_path / "out"
    main([model, "--variants", "max_episode_steps=6", "--episodes", "3", "--n-envs", "2", "--out", str(out)])
    assert [row["length"] for row in _rows(out / "variants.csv")] == ["6.0"]
    with pytest.raises(SystemExit):
        main([model, "--damage", "front_left_leg", "--at", "60"])
    assert "only Ant can" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ([], "Give at least one model"),
        (["nothing.zip", "--perturb", "zero"], "There is no model 'nothing.zip'"),
        (["ANT"], "nothing to study"),
        (["ANT", "--damage", "front_left_log"], "Did you mean 'front_left_leg'"),
        (["ANT", "--damage", "front_left_leg@30"], "has a schedule of its own"),
        (["ANT", "--damage", "front_left_leg", "--env-kwargs", "damage:front_left_leg"], "not both"),
        (["ANT", "--perturb", "zeros"], "Did you mean 'zero'"),
        (["ANT", "--perturb", "zero", "--at", "990"], "need episodes of 1040 steps, but those of this environment have 1000"),
        (["ANT", "--perturb", "zero", "--at", "20"], "window=50 must not be longer than the 20 steps"),
        (["ANT", "--perturb", "zero", "--fraction", "1.5"], "must be in (0, 1]"),
        (["ANT", "--perturb", "zero", "--for", "0"], "for=0 must be at least 1"),
        (["ANT", "--perturb", "zero", "--episodes", "0"], "episodes=0 must be at least 1"),
        (["ANT", "--perturb", "zero", "redraw", "--arrays", "0"], "redraw concerns the whole state"),
        (
            ["CART", "--perturb", "zero", "--at", "5", "--window", "2", "--arrays", "1"],
            "arrays=1: the state of 'CartPole-v1_1'",
        ),
        (["ANT", "--variants", "damage"], "is not of the form option=value,value"),
        (["ANT", "--variants", "damage=none,"], "is not of the form option=value,value"),
        (["ANT", "--variants", "observe_damage=true"], "has other spaces than without"),
        (["ANT", "--variants", "damge=none"], "DamagedAnt-v0 has no option 'damge'"),
        (["ANT", "--variants", "damage=front_left"], "no damage preset 'front_left'"),
        (["ANT", "CART", "--damage", "front_left_leg"], "was trained with the observation space"),
        (["CART", "ANT", "--perturb", "zero", "--at", "60"], "spaces do not match"),
        (
            ["CART", "--damage", "front_left_leg", "--at", "60"],
            "CartPole-v1 has no option 'damage'; give an environment that knows",
        ),
        (["CART", "--perturb", "zero", "--at", "400"], "No episode of any policy lasts until step 400"),
        (["CART", "--perturb", "zero", "--model", "worst"], "use best, last or initial"),
        (["STATIC", "--perturb", "zero"], "does not tell its environment; give env"),
        (
            ["STATIC", "--env", "DamagedAnt-v1", "--perturb", "zero"],
            "Unknown environment 'DamagedAnt-v1'. Did you mean 'DamagedAnt-v0'",
        ),
        (["ANT", "--perturb", "zero", "--out", "MODELS"], "is there already"),
    ],
)
def test_bad_input_exits_with_2(models: Path, tmp_path: Path, monkeypatch, capsys, args: list[str], sentence: str) -> None:
    monkeypatch.chdir(tmp_path)
    places = {
        "ANT": models / "ppo/DamagedAnt-v0_1/spiking.zip",
        "CART": models / "es/CartPole-v1_1",
        "STATIC": models / "static.zip",
        "MODELS": models,
    }
    with pytest.raises(SystemExit) as exit:
        main([str(places.get(word, word)) for word in args])
    assert exit.value.code == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_all_episodes_make_the_table(models: Path, tmp_path: Path) -> None:
    main(
        [
            str(models / "lstm.zip"),
            "--env",
            "DamagedAnt-v0",
            "--damage",
            "rear_left_leg",
            *SHORT,
            "--out",
            str(tmp_path / "out"),
        ]
    )
    episodes = [row for row in _rows(tmp_path / "out/damage_rear_left_leg_episodes.csv") if row["event"] != "undisturbed"]
    (row,) = [row for row in _rows(tmp_path / "out/damage_rear_left_leg.csv") if row["event"] != "undisturbed"]
    for name in ("return", "before", "after", "rate_before", "rate_after", "rate_end"):
        assert float(row[name]) == pytest.approx(np.mean([float(episode[name]) for episode in episodes]))
    assert float(row["percent"]) == pytest.approx(100 * float(row["rate_end"]) / float(row["rate_before"]))
    assert int(row["recovered"]) == sum(episode["steps"] != "" for episode in episodes)
