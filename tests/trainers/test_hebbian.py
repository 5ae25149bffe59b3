"""`python -m trainers.hebbian`, and the flags of `python -m trainers.es` that it stands for."""

import shlex
from pathlib import Path

import pytest
import yaml

from trainers import cli, evaluate, run
from trainers.config import SHORTHANDS
from trainers.devices import count_cores
from trainers.hebbian import HebbianConfig, arguments, main


def _options(words: list[str]) -> dict[str, list[str]]:
    """Flag -> the words behind it."""
    flags: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            flags[word] = []
        else:
            flags[list(flags)[-1]].append(word)
    return flags


def test_the_published_settings() -> None:
    flags = _options(arguments(HebbianConfig("Pendulum-v1", init_weights="xa_uni", distribution="uniform")))
    expected = {
        "--env": "Pendulum-v1",
        "--policy": "HebbianPolicy",
        "--hebb-rule": "ABCD_lr",
        "--init-weights": "xavier",
        "--population-size": "200",
        "--generations": "300",
        "--learning-rate": "exp_0.2_0.995_0.001",
        "--sigma": "exp_0.1_0.999_0.01",
        "--optimizer": "sgd",
        "--ranks": "standardized",
        "--l2": "0.01",
        "--weight-decay": "0.0",
        "--episodes": "1",
        "--n-envs": str(count_cores()),
        "--policy-kwargs": "coefficients:uniform",
    }
    assert {name: " ".join(flags[name]) for name in expected} == expected
    assert {"--antithetic", "--no-normalize-obs"} <= flags.keys()


def test_the_published_car_and_quadruped() -> None:
    pytest.importorskip("Box2D")
    car = _options(arguments(HebbianConfig(threads=1)))
    assert (car["--env"], car["--policy"]) == (["CarRacingEarlyStop-v0"], ["HebbianCnnPolicy"])
    assert "action_bounds:car_racing" in car["--policy-kwargs"]
    assert "obs_size:84" in car["--env-kwargs"]
    assert (car["--n-envs"], car["--vec-env"]) == (["1"], ["dummy"])
    pytest.importorskip("pybullet")
    ant = _options(arguments(HebbianConfig("AntBulletEnv-v0", threads=3)))
    assert (ant["--env"], ant["--policy"]) == (["DamagedAntBullet-v0"], ["HebbianPolicy"])
    assert {"normalize:none", "output:tanh"} <= set(ant["--policy-kwargs"])
    assert (ant["--n-envs"], ant["--vec-env"]) == (["3"], ["subproc"])


def test_brax_tasks_run_in_no_processes() -> None:
    assert not {"--n-envs", "--vec-env"} & _options(arguments(HebbianConfig("Ant"))).keys()


def test_prints_the_command_that_it_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    ran = []
    monkeypatch.setattr(cli, "main", lambda algorithm, words: ran.append((algorithm, words)))
    main(["--environment", "Pendulum-v1", "--hebb_rule", "AD_lr", "--print_every", "5", "--threads", "-1", "--lr", "0.3"])
    ((algorithm, words),) = ran
    assert algorithm == "es"
    assert capsys.readouterr().out == shlex.join(["python", "-m", "trainers.es", *words]) + "\n"
    flags = _options(words)
    assert (flags["--hebb-rule"], flags["--eval-every"]) == (["AD_lr"], ["5"])
    assert flags["--learning-rate"] == ["exp_0.3_0.995_0.001"]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--hebb_rule", "AD_le"], "Unknown hebb_rule 'AD_le'. Did you mean 'AD_lr'"),
        (["--init_weights", "xa_unif"], "Unknown init_weights 'xa_unif'. Did you mean 'xa_uni'"),
        (["--distribution", "norm"], "Unknown distribution 'norm'. Did you mean 'normal'"),
        (["--environment", "CartPol-v1"], "Unknown environment 'CartPol-v1'. Did you mean"),
        (["--environment", "CartPole-v1", "--threads", "0"], "threads=0 must be at least 1, or -1 for one a core"),
    ],
)
def test_bad_flags_exit_with_2(args: list[str], sentence: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as exit:
        main(args)
    assert exit.value.code == 2
    assert sentence in capsys.readouterr().err


def test_options_of_other_networks_are_refused(capsys: pytest.CaptureFixture) -> None:
    for flag in SHORTHANDS:
        with pytest.raises(SystemExit) as exit:
            cli.main("es", ["--env", "CartPole-v1", "--policy", "LSTM", f"--{flag.replace('_', '-')}", "A"])
        assert exit.value.code == 2
        error = capsys.readouterr().err
        assert f"--{flag.replace('_', '-')} is for Hebbian networks; LSTMPolicy has the options hidden_size" in error


@pytest.mark.parametrize(
    ("word", "table"),
    [
        ("gravity=9.8,5.0", {"gravity": [9.8, 5.0]}),
        ("damage=none,weaken:front_left_ankle=0.3@100..300", {"damage": ["none", "weaken:front_left_ankle=0.3@100..300"]}),
        ("damage=[a, b],{none: 0.5, c: 0.5}", {"damage": [["a", "b"], {"none": 0.5, "c": 0.5}]}),
    ],
)
def test_variants_are_written_on_the_command_line(word: str, table: dict) -> None:
    config = cli.parse("es", ["--env", "CartPole-v1", "--variants", word])
    assert config.variants == table
    assert cli.parse("es", ["--env", "CartPole-v1"]).variants == {}


def test_variants_from_the_command_to_the_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with variants, resumed, and its network under a gravity that it was not trained with."""
    monkeypatch.setattr(run, "COMPARED_EPISODES", 1)
    args = ["--env", "Pendulum-v1", "--policy", "Mlp", "--policy-kwargs", "hidden_sizes:[4]", "--population-size", "4"]
    args += ["--variants", "g=10.0,5.0", "--variant-fitness", "min", "--n-envs", "2", "--eval-episodes", "1"]
    cli.main("es", [*args, "--generations", "1", "--log-folder", str(tmp_path), "--no-progress"])
    folder = tmp_path / "es/Pendulum-v1_1"
    config = yaml.safe_load((folder / "config.yml").read_text())["config"]
    assert config["variants"] == {"g": [10.0, 5.0]}
    assert config["variant_fitness"] == "min"
    cli.main("es", ["--resume", str(folder), "--generations", "2"])
    with pytest.raises(SystemExit):
        cli.main("es", ["--resume", str(folder), "--variants", "g=10.0"])
    assert "variants was" in capsys.readouterr().err
    evaluate.main([str(folder), "--episodes", "1"])
    printed = capsys.readouterr().out
    assert "Pendulum-v1 g=10.0, best network" in printed
    assert "Pendulum-v1 g=5.0, best network" in printed
    evaluate.main([str(folder), "--episodes", "1", "--env-kwargs", "g:1.0"])
    printed = capsys.readouterr().out
    assert "Pendulum-v1 g=1.0, best network" in printed
    assert "g=10.0" not in printed
