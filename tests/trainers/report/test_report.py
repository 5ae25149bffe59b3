"""Reports of runs: statistics against plain loops, curves against their definition, and what is said about bad input."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from trainers.report.__main__ import main
from trainers.report.aggregate import STATISTICS, estimate, estimate_over_tasks, iqm
from trainers.report.curves import find_runs, group, read_curve, resample

METRIC = "eval/mean_reward"


def _run(folder: Path, returns: list, env: str = "CartPole-v1", seed: int = 0, step: int = 100, **config) -> Path:
    """Files of a run with an evaluation a generation; None stands for a generation without."""
    folder.mkdir(parents=True)
    values = {"env": env, "policy": "MlpPolicy", "seed": seed, "generations": len(returns), "n_timesteps": None, **config}
    (folder / "config.yml").write_text(yaml.safe_dump({"algorithm": "es", "config": values, "versions": {}}))
    with open(folder / "metrics.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time/iterations", "time/total_timesteps", METRIC, "time/seconds", "time/fps"])
        for i, value in enumerate(returns):
            writer.writerow([i + 1, (i + 1) * step, "" if value is None else value, 2.0, 50])
    (folder / "model.zip").touch()
    return folder


def _resampled(values: np.ndarray, statistic, n: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(5)
    return np.array([statistic(rng.choice(values, len(values))) for _ in range(n)])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 11])
def test_iqm_leaves_out_the_outer_quarters(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    cut = n // 4
    assert iqm(values) == pytest.approx(sum(sorted(values)[cut : n - cut]) / (n - 2 * cut))


@pytest.mark.parametrize("name", STATISTICS)
def test_intervals_are_percentiles_of_the_bootstrap(name: str) -> None:
    values = np.random.default_rng(0).gamma(2.0, size=12)
    estimated = estimate(values, STATISTICS[name], 0.9)
    samples = _resampled(values, STATISTICS[name])
    assert estimated.value == pytest.approx(STATISTICS[name](values))
    tolerance = 0.12 * samples.std()
    np.testing.assert_allclose([estimated.low, estimated.high], np.quantile(samples, [0.05, 0.95]), atol=3 * tolerance)
    wider = estimate(values, STATISTICS[name], 0.99)
    assert wider.low < estimated.low < estimated.value < estimated.high < wider.high
    again = estimate(values, STATISTICS[name], 0.9)
    assert again == estimated


def test_every_point_of_a_curve_has_its_own_interval() -> None:
    values = np.random.default_rng(1).normal(size=(6, 3))
    together = estimate(values, iqm)
    assert together.value.shape == together.low.shape == (3,)
    np.testing.assert_allclose(together.value, [iqm(column) for column in values.T])
    assert (together.low < together.value).all()
    assert (together.value < together.high).all()


def test_one_seed_has_no_interval() -> None:
    estimated = estimate(np.array([3.0]), iqm)
    assert estimated.value == 3.0
    assert np.isnan(estimated.low)
    assert np.isnan(estimated.high)


def test_over_tasks_seeds_are_drawn_within_their_task() -> None:
    """Tasks whose seeds agree have no spread, however far the tasks are apart."""
    apart = [np.zeros(4), np.ones(4)]
    estimated = estimate_over_tasks(apart, np.mean)
    assert (estimated.value, estimated.low, estimated.high) == (0.5, 0.5, 0.5)
    rng = np.random.default_rng(2)
    scores = [rng.normal(size=5), rng.normal(3.0, size=7)]
    resamples = [np.mean(np.concatenate([rng.choice(task, len(task)) for task in scores])) for _ in range(4000)]
    estimated = estimate_over_tasks(scores, np.mean, 0.9)
    np.testing.assert_allclose([estimated.low, estimated.high], np.quantile(resamples, [0.05, 0.95]), atol=0.08)


def test_curves_are_interpolated_where_all_runs_have_been(tmp_path: Path) -> None:
    a = read_curve(_run(tmp_path / "a", [0.0, 10.0, None, 30.0]), METRIC)
    b = read_curve(_run(tmp_path / "b", [5.0, 5.0], seed=1, step=150), METRIC)
    assert a is not None
    assert b is not None
    np.testing.assert_array_equal(a.steps, [100, 200, 400])
    np.testing.assert_array_equal(a.seconds, [2, 4, 8])
    steps, returns = resample([a, b], "steps", 4)
    np.testing.assert_allclose(steps, [150, 200, 250, 300])
    np.testing.assert_allclose(returns, [[5, 10, 15, 20], [5, 5, 5, 5]])
    slow = dataclasses.replace(b, seconds=np.array([9.0, 11.0]))
    seconds, returns = resample([a, slow], "seconds", 3)
    np.testing.assert_allclose(seconds, [9, 10, 11])
    np.testing.assert_allclose(returns, [[30, 30, 30], [5, 5, 5]])  # the faster one was done before
    assert a.until(399).returns.tolist() == [0.0, 10.0]
    with pytest.raises(ValueError, match="no evaluation within 99 environment steps"):
        a.until(99)


def test_runs_are_grouped_by_the_labels_of_their_experiment_or_by_their_settings(tmp_path: Path) -> None:
    for seed in (0, 1):
        _run(tmp_path / f"exp/narrow/CartPole-v1/seed_{seed}", [1.0], seed=seed)
        _run(tmp_path / f"single/CartPole-v1_{seed}", [1.0], seed=seed, sigma=0.1)
    _run(tmp_path / "single/CartPole-v1_3", [1.0, 2.0], seed=0, sigma=0.2, save_every=7)
    (tmp_path / "exp/experiment.yml").write_text("name: exp\n")
    curves = [read_curve(folder, METRIC) for folder in find_runs([tmp_path])]
    groups = group([curve for curve in curves if curve is not None])
    assert {label: len(runs) for label, runs in groups["CartPole-v1"].items()} == {
        "narrow": 2,
        "ES Mlp sigma=0.1": 2,
        "ES Mlp sigma=0.2": 1,
    }


def test_a_run_from_before_an_option_existed_has_its_default(tmp_path: Path) -> None:
    _run(tmp_path / "CartPole-v1_1", [1.0], seed=0)
    _run(tmp_path / "CartPole-v1_2", [1.0], seed=1, precision="float32")
    _run(tmp_path / "CartPole-v1_3", [1.0], seed=2, precision="float16")
    groups = group([read_curve(folder, METRIC) for folder in find_runs([tmp_path])])
    assert {label: len(runs) for label, runs in groups["CartPole-v1"].items()} == {
        "ES Mlp precision=float32": 2,
        "ES Mlp precision=float16": 1,
    }


def test_a_report_writes_table_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finals = {"CartPole-v1": [100.0, 200.0, 300.0], "Pendulum-v1": [-400.0, -300.0, -200.0]}
    for env, values in finals.items():
        for seed, value in enumerate(values):
            _run(tmp_path / f"runs/x/{env}/seed_{seed}", [value - 100, value + 50, value], env=env, seed=seed)
    _run(tmp_path / "runs/one/CartPole-v1/seed_0", [50.0, 40.0])
    (tmp_path / "runs/experiment.yml").write_text("name: runs\n")
    main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert "last evaluation, 95% intervals over seeds" in printed
    assert "One seed has no interval." in printed
    for name in ("curves.png", "finals.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "out/table.csv") as file:
        rows = {(row["environment"], row["label"]): row for row in csv.DictReader(file)}
    row = rows["CartPole-v1", "x"]
    assert (float(row["iqm"]), float(row["median"]), int(row["seeds"])) == (200.0, 200.0, 3)
    assert 100 <= float(row["mean_low"]) < 200 < float(row["mean_high"]) <= 300
    assert float(row["env_steps"]) == 300
    assert rows["CartPole-v1", "one"]["iqm_low"] == ""
    # 0 is the mean first evaluation (87.5, and -400 for Pendulum), 1 the best return in the table
    scaled = np.concatenate([(np.array([100, 200, 300]) - 87.5) / 212.5, (np.array([-400, -300, -200]) + 400) / 200])
    assert float(rows["all, scaled", "x"]["mean"]) == pytest.approx(scaled.mean())
    assert ("all, scaled", "one") not in rows
    markdown = (tmp_path / "out/table.md").read_text().splitlines()
    assert markdown[2].startswith("| environment | label | seeds | IQM |")
    assert any(line.startswith("| CartPole-v1 | one | 1 | 40.0 | 40.0 | 40.0 | 200 |") for line in markdown)
    main([str(tmp_path / "runs"), "--out", str(tmp_path / "best"), "--final", "best", "--budget", "200"])
    with open(tmp_path / "best/table.csv") as file:
        assert next(float(row["mean"]) for row in csv.DictReader(file) if row["label"] == "x") == 250.0


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["nowhere"], "'nowhere' holds no run"),
        (["run", "--metric", "eval/mean_rward"], "Did you mean 'eval/mean_reward'"),
        (["run", "--final", "first"], "Unknown final 'first'."),
        (["run", "--confidence", "95"], "confidence=95.0 must lie between 0 and 1"),
        (["run", "--budget", "3"], "no evaluation within 3 environment steps"),
        (["run", "twin"], "are both ES Mlp on CartPole-v1 with seed 0"),
        (["blind"], "It was not evaluated; use rollout/ep_rew_mean."),
    ],
)
def test_bad_input_is_answered_in_one_sentence(
    args: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _run(Path("run"), [1.0, 2.0])
    _run(Path("twin"), [1.0, 2.0])
    blind = _run(Path("blind"), [1.0]) / "metrics.csv"
    blind.write_text(blind.read_text().replace(METRIC, "rollout/ep_rew_mean"))
    with pytest.raises(SystemExit) as exit_:
        main(args)
    assert exit_.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.rglob("report"))
