"""Datasets: checks, batches, Minari there and back, replay buffers, and collections that are killed."""

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import TD3
from stable_baselines3.common.buffers import ReplayBuffer

from trainers.offline import collect as collecting
from trainers.offline.collect import Collection, Exploration, collect, mean_return, play_episode
from trainers.offline.dataset import OfflineDataset, Sampler, from_minari, from_replay_buffer, load_dataset

minari = pytest.importorskip("minari")

NOISY = Exploration(0.3, 0.3)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    return tmp_path / "datasets"


@pytest.fixture(scope="module")
def model() -> TD3:
    return TD3("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [8]}, buffer_size=1, seed=0, device="cpu")


def _env(**kwargs: Any) -> gymnasium.Env:
    return gymnasium.make("Pendulum-v1", **kwargs)


def _arrays(data: OfflineDataset) -> dict[str, np.ndarray]:
    return {name: getattr(data, name) for name in ("observations", "actions", "rewards", "next_observations", "terminations")}


def test_a_collection_is_what_the_policy_does_and_comes_back_from_minari(model: TD3, monkeypatch) -> None:
    monkeypatch.setattr(collecting, "PART_STEPS", 450)  # several parts
    seen: list[int] = []
    assert collect(model, _env(), "pendulum/td3-v0", 1100, NOISY, seed=3, reference_episodes=2, progress=seen.append)
    assert seen[-1] == 1100
    data = from_minari("pendulum/td3-v0")
    assert len(data) == 1100
    assert np.flatnonzero(data.ends).tolist() == [199, 399, 599, 799, 999, 1099]  # the last is cut
    assert not data.terminations.any()  # a time limit is none
    played = [play_episode(_env(), collecting.acting(model), NOISY, 3, i) for i in range(6)]
    observations = np.concatenate([e.observations[:-1] for e in played])[:1100]
    np.testing.assert_array_equal(data.observations, observations)
    np.testing.assert_array_equal(data.next_observations, np.concatenate([e.observations[1:] for e in played])[:1100])
    inside = ~data.ends[:-1]
    np.testing.assert_array_equal(data.next_observations[:-1][inside], data.observations[1:][inside])
    np.testing.assert_allclose(data.episode_returns[:5], [e.rewards.sum() for e in played[:5]], rtol=1e-5)
    stored = minari.load_dataset("pendulum/td3-v0")
    assert stored.recover_environment().spec.id == "Pendulum-v1"
    assert [e.truncations[-1] for e in stored.iterate_episodes()] == [True] * 6
    assert stored.storage.metadata["algorithm_name"] == "TD3"
    assert json.loads(stored.storage.metadata["collection"])["random_action"] == 0.3
    assert list(minari.list_local_datasets()) == ["pendulum/td3-v0"]
    assert data.metadata["random_return"] == pytest.approx(mean_return(_env(), None, 2, 3))
    assert data.metadata["behavior_return"] == pytest.approx(mean_return(_env(), collecting.acting(model), 2, 3))


def test_the_player_departs_from_the_policy_as_often_and_as_far_as_it_should(model: TD3) -> None:
    act = collecting.acting(model)
    quiet = play_episode(_env(), act, Exploration(0.0, 0.0), 0, 0)
    expected = model.predict(quiet.observations[:-1], deterministic=True)[0]
    np.testing.assert_allclose(quiet.actions, expected, atol=1e-6)
    noisy = play_episode(_env(), act, Exploration(0.1, 0.0), 0, 0)
    deviation = noisy.actions - model.predict(noisy.observations[:-1], deterministic=True)[0]
    assert deviation.std() == pytest.approx(0.2, rel=0.2)  # 0.1 of half the range, which is 2
    often = play_episode(_env(), lambda obs: np.full(1, 2.0, np.float32), Exploration(0.0, 0.3), 0, 0)
    assert (often.actions < 2.0).mean() == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize("after", [1, 3])
def test_a_killed_collection_goes_on_and_gives_the_same_dataset(after: int, model: TD3, monkeypatch, root: Path) -> None:
    monkeypatch.setattr(collecting, "PART_STEPS", 300)
    arguments = (model, _env(), "pendulum/td3-v0", 1000, NOISY)
    calls = 0
    whole_write = Collection.write

    def write(self: Collection, episodes: list) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise KeyboardInterrupt  # nothing of this part is on disk
        whole_write(self, episodes)

    with monkeypatch.context() as patched:
        patched.setattr(Collection, "write", write)
        with pytest.raises(KeyboardInterrupt):
            collect(*arguments, reference_episodes=1)
    assert not minari.list_local_datasets()
    assert collect(*arguments, reference_episodes=1)
    assert collect(model, _env(), "pendulum/whole-v0", 1000, NOISY, reference_episodes=1)
    a, b = from_minari("pendulum/td3-v0"), from_minari("pendulum/whole-v0")
    for name, array in _arrays(a).items():
        np.testing.assert_array_equal(array, getattr(b, name), err_msg=name)
    assert not list(root.rglob("part_*"))


def test_a_collection_begun_otherwise_is_not_gone_on_with(model: TD3) -> None:
    settings = {"env": "Pendulum-v1", "algorithm": "TD3", "policy": "", "seed": 1, "steps": 400, **NOISY._asdict()}
    Collection("pendulum/td3-v0", settings)
    with pytest.raises(ValueError, match="was begun with seed 1, not 0"):
        collect(model, _env(), "pendulum/td3-v0", 400, NOISY)
    assert collect(model, _env(), "pendulum/td3-v0", 400, NOISY, seed=1, reference_episodes=1)
    with pytest.raises(ValueError, match="There is a dataset 'pendulum/td3-v0' already"):
        collect(model, _env(), "pendulum/td3-v0", 400, NOISY, seed=1)
    with pytest.raises(ValueError, match="'pendulum td3' is no Minari id"):
        collect(model, _env(), "pendulum td3", 400, NOISY)
    with pytest.raises(ValueError, match="steps=0 must be at least 1"):
        collect(model, _env(), "pendulum/other-v0", 0, NOISY)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("added", [6, 23])
def test_replay_buffers_keep_order_time_limits_and_units(shared: bool, added: int) -> None:
    box, actions = spaces.Box(-9, 9, (2,)), spaces.Box(-2, 2, (1,))
    timeouts = {"optimize_memory_usage": True, "handle_timeout_termination": False} if shared else {}
    buffer = ReplayBuffer(20, box, actions, n_envs=2, device="cpu", **timeouts)
    for t in range(added):
        obs = np.array([[t, 0], [t, 1]], np.float32)
        infos = [{"TimeLimit.truncated": t == 4}, {}]
        buffer.add(obs, obs + np.array([1, 0]), np.full((2, 1), -0.5), np.array([t, -t]), np.array([t == 4, t == 3]), infos)
    data = from_replay_buffer(buffer)
    kept = np.arange(added)[-(buffer.buffer_size - int(shared)) :] if added > buffer.buffer_size else np.arange(added)
    assert data.observations.tolist() == [[t, env] for env in (0, 1) for t in kept]
    assert data.next_observations.tolist() == [[t + 1, env] for env in (0, 1) for t in kept]
    assert set(data.actions[:, 0]) == {-1.0}
    assert data.rewards.tolist() == [*kept, *(-kept)]
    ended = [(env, int(t)) for env in (0, 1) for t in kept if t == (4, 3)[env]]
    assert [tuple(x) for x in zip(*np.divmod(np.flatnonzero(data.ends), len(kept)), strict=True)] == [
        (env, int(np.flatnonzero(kept == t)[0])) for env, t in ended
    ]
    assert data.terminations.sum() == sum(shared or env == 1 for env, _ in ended)


def test_batches_are_rows_of_the_dataset_with_actions_in_one_range(bandit: OfflineDataset) -> None:
    sampler = Sampler(bandit, 64, torch.device("cpu"))
    torch.manual_seed(0)
    batch = sampler.draw()
    index = [int(np.flatnonzero((bandit.observations == row.numpy()).all(1))[0]) for row in batch.observations]
    np.testing.assert_allclose(batch.actions.numpy(), bandit.actions[index] / 2, atol=1e-6)
    np.testing.assert_allclose(batch.rewards.numpy()[:, 0], bandit.rewards[index])
    assert batch.not_done.sum() == 0
    assert len(set(index)) > 50


def test_what_is_wrong_with_a_dataset_is_said_in_a_sentence(bandit: OfflineDataset, tmp_path: Path) -> None:
    def changed(**arrays: Any) -> OfflineDataset:
        fields = {name: getattr(bandit, name) for name in OfflineDataset.__dataclass_fields__}
        return OfflineDataset(**(fields | arrays))

    rewards = bandit.rewards.copy()
    rewards[7] = np.nan
    with pytest.raises(ValueError, match="bandit: rewards of 1 transitions are not finite, the first is number 7"):
        changed(rewards=rewards)
    with pytest.raises(ValueError, match=r"bandit has actions of shape \(3999, 1\), but must have \(4000, 1\)"):
        changed(actions=bandit.actions[1:])
    none = {name: array[:0] for name, array in _arrays(bandit).items()}
    with pytest.raises(ValueError, match="bandit is empty"):
        changed(**none, ends=bandit.ends[:0])
    with pytest.raises(ValueError, match=r"bandit has actions in Discrete\(2\); offline learning takes vectors"):
        changed(action_space=spaces.Discrete(2))
    with pytest.raises(ValueError, match=r"is a pickle.*add --trust-pickle"):
        load_dataset(str(tmp_path / "buffer.pkl"))
    with pytest.raises(ValueError, match=r"There is no Minari dataset 'hopper/td3-v0' here\. There are none yet"):
        load_dataset("hopper/td3-v0")


def test_truncated_files_are_refused(model: TD3, root: Path) -> None:
    import h5py

    assert collect(model, _env(), "pendulum/td3-v0", 400, NOISY, reference_episodes=1)
    with pytest.raises(ValueError, match=r"no Minari dataset 'pendulum/td4-v0' here\. Did you mean 'pendulum/td3-v0'"):
        load_dataset("pendulum/td4-v0")
    path = root / "pendulum/td3-v0/data/main_data.hdf5"
    with h5py.File(path, "a") as file:
        episode = file["episode_1"]
        short = episode["observations"][:50]
        del episode["observations"]
        episode["observations"] = short
    with pytest.raises(ValueError, match="truncated: episode 1 has 50 observations and 200 actions for 200 rewards"):
        load_dataset("pendulum/td3-v0")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="pendulum/td3-v0 is truncated or damaged"):
        load_dataset("pendulum/td3-v0")
