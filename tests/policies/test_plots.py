"""Recorded episodes are what the network did; pictures are written without a display."""

import json
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO, TD3
from stable_baselines3.common.monitor import Monitor

from policies.neurons import NEURONS, Neurons
from policies.plots import plot_actions, plot_learning_curves, plot_membranes, plot_raster, record_episode
from policies.sb3.common import acting_net

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def pendulum() -> TD3:
    return TD3("SpikingPolicy", "Pendulum-v1", seed=0, policy_kwargs={"net_arch": [24, 12]})


@pytest.fixture(scope="module")
def episode(pendulum: TD3):
    return record_episode(pendulum, gymnasium.make("Pendulum-v1"), max_steps=60, seed=3)


def test_recorded_spikes_are_the_networks(pendulum: TD3, episode) -> None:
    """The decoder turns them into the actions; potentials above the threshold are where spikes are."""
    assert episode.names == ("layer 0", "layer 1")
    assert [layer.shape for layer in episode.spikes] == [(60, 4, 24), (60, 4, 12)]
    assert 0.01 < episode.spikes[0].mean() < 0.5
    net = acting_net(pendulum.policy)
    with torch.no_grad():
        spikes = torch.tensor(episode.spikes[1], dtype=torch.float32).transpose(0, 1)
        actions = torch.tanh(net.decoder(spikes)[0]) * 2.0
    np.testing.assert_allclose(actions, episode.actions, rtol=1e-5, atol=1e-6)
    for fired, potential in zip(episode.spikes, episode.potentials, strict=True):
        np.testing.assert_array_equal(fired, potential > episode.threshold)
    env = gymnasium.make("Pendulum-v1")
    obs, _ = env.reset(seed=3)
    for action, reward in zip(episode.actions, episode.rewards, strict=True):
        np.testing.assert_array_equal(pendulum.predict(obs, deterministic=True)[0], action)
        obs, r, *_ = env.step(action)
        assert reward == pytest.approx(r)


@pytest.mark.parametrize("reset", ["hard", "soft", "none"])
@pytest.mark.parametrize("neuron", NEURONS)
def test_distances_decide_who_fires(neuron: str, reset: str) -> None:
    layer = Neurons(50, neuron, reset=reset)
    currents = 3.0 * torch.randn(7, 4, 50)
    first, state = layer(currents[:3])
    second, _ = layer(currents[3:], state)
    distances = torch.cat([layer.distances(currents[:3]), layer.distances(currents[3:], state)])
    assert torch.equal(torch.cat([first, second]) > 0, distances > 0)
    torch.testing.assert_close(distances, layer.distances(currents))


@pytest.mark.parametrize("decoder", ["population", "lateral"])
def test_potentials_that_persist(decoder: str) -> None:
    env = gymnasium.make("CartPole-v1")
    small = {"net_arch": [16], "decoder": decoder, "neuron": "alif"}
    for model in (
        RecurrentPPO("SpikingRecurrentPolicy", env, policy_kwargs=small, seed=0),
        PPO("SpikingPolicy", env, policy_kwargs={**small, "stateful": True}, seed=0),
    ):
        episode = record_episode(model, env, seed=0)
        assert episode.names == ("layer 0", "decoder")
        assert not episode.from_rest
        assert [layer.shape[1:] for layer in episode.spikes] == [(4, 16), (4, 20)]
        assert len(episode.rewards) == episode.rewards.sum()  # CartPole's whole episode
        plot_membranes(episode, "decoder", neurons=[0, 3])


def test_pictures(episode, tmp_path) -> None:
    shown = {
        "raster": plot_raster(episode, start=5, steps=20, title="Pendulum"),
        "membranes": plot_membranes(episode),
        "actions": plot_actions(episode, np.zeros((40, 1)), ("spiking", "zero")),
    }
    for name, figure in shown.items():
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == PNG
    assert [axis.get_ylabel().split("\n")[0] for axis in shown["raster"].axes] == ["layer 0", "layer 1", "action", "reward"]
    assert shown["raster"].axes[-1].get_xlim() == (5, 25)
    assert len(shown["membranes"].axes) == 6


def test_learning_curves_of_evaluations_and_monitors(tmp_path) -> None:
    for seed in range(3):
        (tmp_path / f"spiking_{seed}").mkdir()
        np.savez(tmp_path / f"spiking_{seed}" / "evaluations.npz", timesteps=[0, 10, 20], results=np.full((3, 2), seed))
        env = Monitor(gymnasium.make("CartPole-v1", max_episode_steps=5), str(tmp_path / f"mlp_{seed}" / "0"))
        for _ in range(6):
            env.reset(seed=seed)
            while not any(env.step(0)[2:4]):
                pass
        env.close()
    figure = plot_learning_curves(
        {
            "spiking": [tmp_path / "spiking_0", tmp_path / "spiking_1", tmp_path / "spiking_2" / "evaluations.npz"],
            "MLP": [tmp_path / f"mlp_{seed}" for seed in range(3)],
        },
        window=2,
    )
    spiking, mlp = figure.axes[0].lines
    np.testing.assert_allclose(spiking.get_ydata(), 1.0)
    assert spiking.get_xdata()[[0, -1]].tolist() == [0, 20]
    np.testing.assert_allclose(mlp.get_ydata(), 5.0)
    assert mlp.get_xdata()[[0, -1]].tolist() == [5, 30]
    spread = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert spread.max() == pytest.approx(1.0 + np.std([0, 1, 2]))


def test_monitors_of_several_environments_are_put_in_order(tmp_path) -> None:
    for name, began, rows in (("0", 0.0, "1,10,1\n3,10,3\n"), ("1", 1.0, "2,20,1\n4,20,3\n")):
        (tmp_path / f"{name}.monitor.csv").write_text(f"#{json.dumps({'t_start': began})}\nr,l,t\n{rows}")
    line = plot_learning_curves({"a": [tmp_path]}, window=1, points=6).axes[0].lines[0]
    assert line.get_xdata().tolist() == [10, 20, 30, 40, 50, 60]
    assert line.get_ydata().tolist() == pytest.approx([1, 1.5, 2, 3, 3.5, 4])


def test_bad_input(episode, tmp_path) -> None:
    with pytest.raises(ValueError, match="has no spiking network"):
        record_episode(TD3("MlpPolicy", "Pendulum-v1"), gymnasium.make("Pendulum-v1"))
    with pytest.raises(ValueError, match="show nothing of an episode of 60 steps"):
        plot_raster(episode, start=60)
    with pytest.raises(ValueError, match="no layer 'layer 2'; it has layer 0, layer 1"):
        plot_membranes(episode, "layer 2")
    with pytest.raises(ValueError, match="no neuron 24; it has 0 to 23"):
        plot_membranes(episode, neurons=[24])
    with pytest.raises(ValueError, match="have 1 and 2 dimensions"):
        plot_actions(episode, np.zeros((60, 2)))
    with pytest.raises(ValueError, match=r"neither an evaluations\.npz"):
        plot_learning_curves({"a": [tmp_path]})
    with pytest.raises(ValueError, match="no runs to plot"):
        plot_learning_curves({})


def test_matplotlib_is_imported_only_to_draw() -> None:
    code = "import sys, policies.plots, policies.energy; print({'matplotlib', 'jax', 'envs', 'trainers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
