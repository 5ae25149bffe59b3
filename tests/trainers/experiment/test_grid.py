"""Files of experiments: what they mean, and what is said about those that mean nothing."""

import re
from importlib import resources
from pathlib import Path

import pytest

from trainers.cli import parse
from trainers.experiment.grid import expand, to_words
from trainers.experiment.reading import find_file, read

TINY = """\
name: tiny
seeds: [0, 1]
environments: [CartPole-v1, Pendulum-v1]
common: {population_size: 8, n_timesteps: 2e3}
algorithms:
  ES:
    algorithm: es
    policy: MlpPolicy
    policy_kwargs: {hidden_sizes: [4, 4]}
  EC: {algorithm: ec, antithetic: true}
per_environment:
  Pendulum-v1: {population_size: 4, policy_kwargs: {action_bounds: tanh}}
"""


def _runs(tmp_path: Path, text: str = TINY, *overrides: str):
    path = tmp_path / "tiny.yml"
    path.write_text(text)
    return expand(read(path, overrides))


def test_the_grid_is_algorithms_times_environments_times_seeds(tmp_path: Path) -> None:
    runs = _runs(tmp_path)
    assert [run.path for run in runs] == [
        f"{label}/{env}/seed_{seed}" for label in ("ES", "EC") for env in ("CartPole-v1", "Pendulum-v1") for seed in (0, 1)
    ]
    first, _, exception, *_ = runs
    assert first.options["population_size"] == 8
    assert first.options["n_timesteps"] == 2000
    assert exception.options["population_size"] == 4
    assert exception.options["policy_kwargs"] == {"hidden_sizes": [4, 4], "action_bounds": "tanh"}


def test_words_of_a_run_are_read_by_its_command_as_they_were_meant(tmp_path: Path) -> None:
    run = _runs(tmp_path)[2]
    config = parse(run.algorithm, run.words)
    assert (config.env, config.seed, config.policy) == ("Pendulum-v1", 0, "MlpPolicy")
    assert config.policy_kwargs == {"hidden_sizes": [4, 4], "action_bounds": "tanh"}
    assert config.n_timesteps == 2000
    assert config.generations > 10**6  # the steps end it
    options = {
        "antithetic": False,
        "learning_rate": "lin_0.1",
        "env_kwargs": {"a": "yes", "b": "x,y", "c": None, "d": 1.5, "e": {"f": [1, "g"]}},
        "variants": {"damage": ["none", "a b", "1", 2]},
    }
    config = parse("es", ["--env", "CartPole-v1", *to_words(options)])
    assert {name: getattr(config, name) for name in options} == options


def test_includes_lie_beneath_and_the_command_line_above(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below/base.yml").write_text("seeds: [7]\ncommon: {population_size: 2, generations: 3}\n")
    text = TINY.replace("seeds: [0, 1]", "include: below/base.yml")
    runs = _runs(tmp_path, text, "common.episodes=5", "environments=[CartPole-v1]")
    assert [run.seed for run in runs] == [7, 7]
    assert runs[0].options | {"population_size": 8, "generations": 3, "episodes": 5} == runs[0].options


@pytest.mark.parametrize("name", ["ec_brax", "rnn_brax", "dense_snn_brax"])
def test_published_experiments_have_the_published_settings(name: str) -> None:
    runs = expand(read(find_file(name, "experiments")))
    assert {(run.env, run.seed) for run in runs} == {
        (f"Brax{env}-v0", seed) for env in ("Hopper", "Walker2d", "Humanoid") for seed in (0, 1, 2)
    }
    published = {
        "EC": {"algorithm": "ec", "learning_rate": 0.15, "eps": 0.001},
        "ES-SNN": {"algorithm": "es", "learning_rate": 0.15, "sigma": 0.3, "weight_decay": 0.1},
        "GRU": {"algorithm": "es", "learning_rate": 0.01, "sigma": 0.02, "weight_decay": 0.1},
        "LSTM": {"algorithm": "es", "learning_rate": 0.01, "sigma": 0.02, "weight_decay": 0.1},
    }
    for run in runs:
        said = run.options | {"algorithm": run.algorithm}
        assert said | published[run.label] == said
        assert run.options["population_size"] + run.options["eval_episodes"] == 10240


def test_every_shipped_experiment_is_tested_or_included() -> None:
    files = {path.name for path in resources.files("zoo_configs").joinpath("experiments").iterdir()}
    assert {"ec_brax.yml", "rnn_brax.yml", "dense_snn_brax.yml", "brax_published.yml"} <= files
    for name in files - {"brax_published.yml"}:
        assert expand(read(find_file(name, "experiments")))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("seeds:", "seds:"), "tiny.yml:2: unknown key 'seds'. Did you mean 'seeds'?"),
        (("policy: MlpPolicy", "polcy: MlpPolicy"), "tiny.yml:8: es has no option 'polcy'. Did you mean 'policy'?"),
        (("antithetic: true", "sigma: 0.1"), "tiny.yml:10: ec has no option 'sigma'."),
        (("population_size: 8", "population_size: many"), "tiny.yml:4: population_size is 'many', but must be int."),
        (("population_size: 8", "population_size: 8.5"), "tiny.yml:4: population_size is 8.5, but must be int."),
        (("population_size: 8", "seed: 8"), "tiny.yml:4: seed is decided by the experiment"),
        (("algorithm: es", "algorithm: ess"), "tiny.yml:7: Unknown algorithm 'ess'. Did you mean 'es'?"),
        (("algorithm: es\n", "eps: 1\n"), "tiny.yml:6: ES needs an algorithm"),
        (("[CartPole-v1,", "[CartPol-v1,"), "tiny.yml:3: Unknown environment 'CartPol-v1'. Did you mean"),
        (("  Pendulum-v1:", "  Pendulum:"), "tiny.yml:12: Unknown environment 'Pendulum'. Did you mean"),
        (("[0, 1]", "[1, 1]"), "tiny.yml:2: seeds must be a list of different whole numbers"),
        (("[0, 1]", "3"), "tiny.yml:2: seeds must be a list of different whole numbers"),
        (("  ES:", "  a/b:"), "tiny.yml:6: 'a/b' cannot name a folder"),
        (("policy: MlpPolicy", "policy: MlpPolice"), "tiny.yml:6: ES on CartPole-v1: "),
        (("[0, 1]", "[0, 1"), "tiny.yml:3: "),
        (("name: tiny", "include: tiny.yml"), "a cycle of includes, tiny.yml -> tiny.yml"),
        (("name: tiny", "include: other.yml"), "other.yml' cannot be read"),
        (("name: tiny\n", ""), "an experiment needs name"),
        (("name: tiny", "name: ${nme}"), "Interpolation key 'nme' not found"),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_key(change: tuple[str, str], sentence: str, tmp_path: Path) -> None:
    assert change[0] in TINY
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        _runs(tmp_path, TINY.replace(*change, 1))
    assert "\n" not in str(error.value)


def test_a_longer_cycle_of_includes_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("include: b.yml\n")
    (tmp_path / "b.yml").write_text("include: [tiny.yml]\n")
    with pytest.raises(ValueError, match=r"tiny.yml -> a.yml -> b.yml -> tiny.yml"):
        _runs(tmp_path, TINY + "include: a.yml\n")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [("common.popsize=3", "command line: es has no option 'popsize'"), ("generations", "not of the form key.key=value")],
)
def test_overrides_that_mean_nothing(override: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        _runs(tmp_path, TINY, override)


def test_an_unknown_experiment_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'ec_brax'"):
        find_file("ec_brx", "experiments")
