import gymnasium
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from stable_baselines3.common.evaluation import evaluate_policy

import envs  # noqa: F401
from policies.reservoir import ReservoirRegressor
from trainers import checkpoint
from trainers.supervised.__main__ import main
from trainers.supervised.policy import TrajectoryPolicy
from trainers.supervised.shd_files import write_synthetic

pytestmark = pytest.mark.filterwarnings("ignore:.*made-up digits")
ROBOT = "--task robot --n-train 60 --n-validation 10 --n-test 10 --preset published --model-kwargs neurons:40 --no-progress"
SHD = "--task shd --data digits --dt 0.05 --n-steps 25 --n-channels 70 --model-kwargs sizes:[12,10] --no-progress"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _run(line: str) -> int:
    return main(line.split())


def test_a_robot_run_leaves_its_files_and_figures(tmp_path, capsys) -> None:
    assert _run(f"{ROBOT} --epochs 3 --keep-every 2 --keep-samples 2 --rate-weight 1.0") == 0
    assert "Test loss:" in capsys.readouterr().out
    run = tmp_path / "runs/supervised/robot_1"
    assert yaml.safe_load((run / "config.yml").read_text())["config"]["n_train"] == 60
    assert [p.name for p in sorted((run / "epochs").iterdir())] == [f"epoch_000{i}.npz" for i in range(4)]
    kept = np.load(run / "epochs/epoch_0003.npz")
    assert kept["recurrent_weights"].shape == kept["recurrent_gradients"].shape == (40, 40)
    assert kept["input_weights"].shape == (40, 2)
    assert kept["output_weights"].shape == (2, 40)
    assert kept["inputs"].shape == kept["outputs"].shape == kept["expected"].shape == (30, 2, 2)
    assert len(kept["losses"]) == len(kept["recurrent_gradient_norms"]) == 2
    spikes = np.unpackbits(kept["spikes"], axis=-1, count=int(kept["spikes_shape"][-1]))
    assert spikes.shape == (30, 2, 40)
    np.testing.assert_allclose(kept["firing_rates"], spikes.mean(axis=(0, 1)), rtol=1e-6)
    np.testing.assert_array_equal(kept["expected"], np.load(run / "epochs/epoch_0001.npz")["expected"])
    assert _run(f"plot {run}") == 0
    pictures = sorted((run / "plots").glob("*.png"))
    assert {"components.png", "plane.png", "rasters.png", "weight_changes.png"} <= {p.name for p in pictures}
    assert all(np.asarray(Image.open(p).convert("L")).std() > 5 for p in pictures)
    assert (run / "report.html").read_text().count("data:image/png") == len(pictures)


@pytest.mark.parametrize("task", ["robot", "shd"])
def test_going_on_equals_an_uninterrupted_run(tmp_path, task: str, capsys) -> None:
    if task == "shd":
        write_synthetic("digits", 80, 20)
    line = {"robot": ROBOT, "shd": f"{SHD} --noise 0.01 --shift-channels 3 --model adlif"}[task]
    assert _run(f"{line} --epochs 3 --log-folder whole") == 0
    assert _run(f"{line} --epochs 2 --log-folder parts") == 0
    folder = f"parts/supervised/{task}_1"
    assert _run(f"--task {task} --resume {folder} --epochs 3 --no-progress") == 0
    (whole, meta), (parts, again) = (checkpoint.load(f"{f}/supervised/{task}_1/checkpoint.zip") for f in ("whole", "parts"))
    assert meta == again
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)
    assert _run(f"--task {task} --resume {folder} --learning-rate 0.5") == 2
    assert "learning_rate was" in capsys.readouterr().err


def test_digits_are_learned_and_their_confusion_drawn(tmp_path) -> None:
    write_synthetic("digits", 400, 100)
    line = f"{SHD} --model-kwargs sizes:[48,48] --epochs 12 --learning-rate 0.02 --schedule constant --batch-size 32"
    assert _run(f"{line} --validation stratified") == 0
    run = tmp_path / "runs/supervised/shd_1"
    assert yaml.safe_load((run / "results.yml").read_text())["accuracy"] > 0.4  # a guess has 0.05
    assert _run(f"plot {run}") == 0
    assert (run / "plots/confusion.png").is_file()


def test_early_stop_looks_at_validation(tmp_path) -> None:
    assert _run(f"{ROBOT} --epochs 9 --patience 1 --learning-rate 1e-9") == 0
    rows = (tmp_path / "runs/supervised/robot_1/metrics.csv").read_text().splitlines()
    assert 2 < len(rows) < 10


def test_the_policy_sees_the_target_alone_and_carries_its_state() -> None:
    network = ReservoirRegressor(2, 2, 40, differentiate=True)
    env = gymnasium.make("RobotTrajectory-v0", obs_mode="target")
    policy = TrajectoryPolicy(network, env)
    returns, lengths = evaluate_policy(policy, env, 2, return_episode_rewards=True)  # type: ignore[arg-type]
    assert lengths == [250, 250]
    assert all(0 < r < 250 for r in returns)
    observations = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
    together, state = [], None
    for obs in observations:
        action, state = policy.predict(obs, state, np.zeros(2, bool) if together else np.ones(2, bool))
        together.append(action)
    alone, state = [], None
    for obs in observations:
        action, state = policy.predict(obs[1], state, None)
        alone.append(action)
    np.testing.assert_allclose(np.array(together)[:, 1], alone, rtol=1e-4, atol=1e-5)
    fresh, _ = policy.predict(observations[0], tuple(np.repeat(s, 2, axis=0) for s in state), np.ones(2, bool))
    np.testing.assert_allclose(fresh, together[0], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"is no gymnasium\.make"):
        TrajectoryPolicy(network, gymnasium.make("RobotTrajectory-v0"))


def test_velocities_beyond_the_arms_are_made_up_for(monkeypatch) -> None:
    network = ReservoirRegressor(2, 2, 40)
    wanted = iter([[8.0, 0.0], [1.0, -11.0], [0.0, 0.0], [-2.0, 0.0]])

    def act(x, state):
        return torch.tensor([[next(wanted)]]), None, state

    monkeypatch.setattr(network, "act", act)
    policy = TrajectoryPolicy(network, gymnasium.make("RobotTrajectory-v0", obs_mode="target"))
    done, state = [], None
    for _ in range(4):
        action, state = policy.predict(np.zeros(3, np.float32), state)
        done.append(policy.omega_max * action)
    np.testing.assert_allclose(done, [[5, 0], [4, -5], [0, -5], [-2, -1]], atol=1e-5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--task robots", "Did you mean 'robot'"),
        ("--task shd --data nowhere", "Download shd_train.h5.zip"),
        ("--task robot --model-kwargs neuron:30", "Did you mean 'neurons'"),
        ("--task robot --model-kwargs traces:0.9", "cannot be made with {'traces': 0.9}: 'float' object is not iterable"),
        ("--task robot --model-kwargs tuning:[1,1]", "must be a weight for each of the 1 traces"),
        ("--task robot --schedule cosin", "Did you mean 'cosine'"),
        ("--task robot --epochs 0", "epochs=0 must be at least 1"),
        ("--task robot --patience 0", "patience=0 must be at least 1"),
        ("--task robot --resume nowhere", "is not a run folder"),
        ("plot nowhere", "is not the folder of a supervised run"),
    ],
)
def test_bad_input_is_one_sentence(line: str, message: str, capsys) -> None:
    assert _run(f"{line} --n-train 5 --n-validation 2" if "robot " in line and "resume" not in line else line) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
