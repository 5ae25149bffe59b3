"""rl_zoo3's commands through `python -m trainers.zoo`."""

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("rl_zoo3")

from trainers.ec import EC
from trainers.zoo import main

TINY = ["n_envs:3", "population_size:6", "eval_episodes:0"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands read sys.argv and write where they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["zoo"])


def _train(algo: str, env: str, *words: str, hyperparams: list[str]) -> Path:
    main(["train", "--algo", algo, "--env", env, "--device", "cpu", "-f", "logs", *words, "--hyperparams", *hyperparams])
    return Path(f"logs/{algo}/{env}_1")


def test_ec_is_trained_evaluated_by_steps_and_enjoyed(capsys: pytest.CaptureFixture[str]) -> None:
    folder = _train(
        "ec", "CartPole-v1", "-n", "900", "--eval-freq", "300", "--save-freq", "300", "--eval-episodes", "2",
        hyperparams=[*TINY, "policy_kwargs:dict(num_neurons=16)"],
    )  # fmt: skip
    model = EC.load(folder / "CartPole-v1.zip")
    assert model.strategy.population_size == 6
    assert model.network.num_neurons == 16
    assert 900 <= model.num_timesteps < 900 + 6 * 500
    assert (folder / "best_model.zip").exists()
    taken = np.load(folder / "evaluations.npz")["timesteps"]
    assert (np.diff([0, *taken]) >= 300).all()
    steps = {row["time/total_timesteps"] for row in model.history}
    assert set(taken) <= steps
    assert {path.name for path in folder.glob("rl_model_*")} == {f"rl_model_{step}_steps.zip" for step in taken}
    saved = yaml.load((folder / "CartPole-v1/config.yml").read_text(), Loader=yaml.UnsafeLoader)
    assert saved["learning_rate"] == 0.15  # from zoo_configs/ec.yml
    capsys.readouterr()
    enjoy = ["enjoy", "--algo", "ec", "--env", "CartPole-v1", "-f", "logs", "-n", "600", "--no-render", "--device", "cpu"]
    main([*enjoy, "--load-best"])
    assert "Mean reward" in capsys.readouterr().out


def test_a_package_that_a_command_lacks_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "seaborn", None)
    with pytest.raises(SystemExit) as exit_:
        main(["all_plots", "-a", "ec", "--env", "CartPole-v1", "-f", "logs"])
    assert exit_.value.code == 2
    assert "rl_zoo3.plots.all_plots cannot start: " in (said := capsys.readouterr().err)
    assert "seaborn" in said
    assert "pip install 'rl_zoo3[plots]'" in said


def test_generations_of_the_file_end_a_run_without_steps() -> None:
    Path("own.yml").write_text(
        "default:\n  policy: MlpPolicy\n  generations: 2\n  learning_rate: exp_0.2_0.5_0.001\n"
        "policies:\n  MlpPolicy: {sigma: 0.3, policy_kwargs: {hidden_sizes: [4]}}\n"
    )
    folder = _train("es", "CartPole-v1", "--conf-file", "own.yml", "--eval-freq", "-1", "-P", hyperparams=TINY)
    from trainers.es import ES

    model = ES.load(folder / "CartPole-v1.zip")
    assert model.generation == 2
    np.testing.assert_allclose([row["train/learning_rate"] for row in model.history], [0.2, 0.1])
    assert model.sigma == 0.3


def test_brax_is_played_in_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    from argparse import Namespace

    from envs.brax.vec_env import BraxVecEnv
    from trainers.zoo import register

    config = Path(__file__).parents[2] / "zoo_configs/ec.yml"
    manager = register()(
        Namespace(), "ec", "BraxReacher-v0", "logs", config=str(config), eval_freq=-1, verbose=0,
        hyperparams={"policy_kwargs": {"num_neurons": 8}}, env_kwargs={"max_episode_steps": 5},
    )  # fmt: skip
    model, saved = manager.setup_experiment()
    assert isinstance(model.env, BraxVecEnv)
    assert saved["env_kwargs"] == {"max_episode_steps": 5}
    assert manager.generations == 200


def test_spiking_policies_of_stable_baselines3_are_found() -> None:
    folder = _train(
        "td3", "Pendulum-v1", "-n", "60", "--eval-freq", "-1", "--num-threads", "1",
        hyperparams=["learning_starts:50", "policy_kwargs:dict(net_arch=[8])"],
    )  # fmt: skip
    saved = yaml.load((folder / "Pendulum-v1/config.yml").read_text(), Loader=yaml.UnsafeLoader)
    assert saved["policy"] == "SpikingPolicy"
    assert saved["batch_size"] == 128


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trian"], "Unknown command 'trian'. Did you mean 'train'"),
        (["train", "--algo", "ec", "--env", "CartPol-v1"], "you maybe meant CartPole"),
        (["train", "--algo", "ec", "--env", "CartPole-v1", "--hyperparams", "esp:1"], "Did you mean 'eps'"),
        (["train", "--algo", "ec", "--env", "CartPole-v1", "-c", "no.yml"], "There is no file 'no.yml'"),
        (["train", "--algo", "ec", "--env", "CartPole-v1", "-optimize"], "use python -m trainers.sweep"),
        (["train", "--algo", "es", "--env", "CartPole-v1", "--hyperparams", "variants:dict(x=[1, 2])"], "no variants"),
    ],
)
def test_bad_input_is_answered_in_one_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 2
    assert sentence in capsys.readouterr().err
