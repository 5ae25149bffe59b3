"""What is computed for the pictures, and that they show it."""

import numpy as np
import pytest

from trainers.adaptation.episodes import Trace
from trainers.adaptation.plots import (
    plot_event,
    plot_variants,
    plot_weights,
    principal_paths,
    progress,
    rate,
)
from trainers.plots import to_png

RNG = np.random.default_rng(0)


def _trace(rewards: np.ndarray, positions: np.ndarray | None = None, weights: tuple[np.ndarray, ...] = ()) -> Trace:
    steps = 1 + 5 * np.arange(weights[0].shape[1] if weights else 0)
    changes = tuple(np.full((len(layer), rewards.shape[1] - 1), 0.1) for layer in weights)
    return Trace(rewards, positions, weights, steps, changes, len(weights))


def test_rate_is_a_trailing_mean() -> None:
    rewards = RNG.normal(size=(2, 9))
    rewards[1, 6:] = np.nan
    earned = np.nan_to_num(rewards)
    expected = [[row[max(0, t - 2) : t + 1].mean() for t in range(9)] for row in earned]
    np.testing.assert_allclose(rate(_trace(rewards), 3), expected)
    np.testing.assert_allclose(rate(_trace(rewards), 30)[:, -1], earned.mean(1))


def test_progress_stays_where_the_episode_ended() -> None:
    nan = np.nan
    rewards, positions = np.array([[1.0, 2, 3], [1, 2, nan]]), np.array([[5.0, 6, 7], [5, 4, nan]])
    np.testing.assert_array_equal(progress(_trace(rewards)), [[1, 3, 6], [1, 3, 3]])
    np.testing.assert_array_equal(progress(_trace(rewards, positions)), [[5, 6, 7], [5, 4, 4]])


def test_paths_in_a_plane_are_found_whole() -> None:
    """Points in a plane of 50 dimensions keep their distances; missing ones stay missing."""
    plane = np.linalg.qr(RNG.normal(size=(50, 2)))[0].T
    flat = RNG.normal(size=(2, 30, 2)) * [3.0, 1.0]
    points = flat @ plane + RNG.normal(size=50)
    points[1, 25:] = np.nan
    paths, explained = principal_paths([points[:1], points[1:]])
    assert explained.sum() == pytest.approx(1.0)
    assert explained[0] > explained[1]
    for path, original in zip(paths, (flat[0], flat[1, :25]), strict=True):
        known = path[0][~np.isnan(path[0, :, 0])]
        assert known.shape == original.shape
        np.testing.assert_allclose(
            np.linalg.norm(np.diff(known, axis=0), axis=1), np.linalg.norm(np.diff(original, axis=0), axis=1)
        )


def test_pictures_mark_the_event_and_name_axes() -> None:
    rewards = RNG.normal(size=(4, 100))
    calm, hit = _trace(rewards, np.cumsum(rewards, 1)), _trace(rewards - 1, np.cumsum(rewards - 1, 1))
    figure = plot_event({"a": hit}, {"a": calm, "b": calm}, 40, 10, 20, "title")
    upper, lower = figure.axes
    assert "reward per step" in upper.get_ylabel()
    assert lower.get_ylabel() == "position along x (m)"
    for axis in (upper, lower):
        assert any(list(line.get_xdata()) == [40, 40] for line in axis.lines)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["a", "undisturbed", "standard deviation of 4 episodes"]
    assert to_png(figure).startswith(b"\x89PNG")


def test_pictures_of_variants_have_a_panel_each() -> None:
    trace = _trace(RNG.normal(size=(4, 50)))
    notes = {"damage=none": "", "damage=v": "", "damage=w": "", "damage=x": "", "damage=z": "unseen"}
    figure = plot_variants({name: {"a": trace, "b": trace} for name in notes}, notes, "title")
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == ["damage=none", "damage=v", "damage=w", "damage=x", "damage=z (unseen)"]
    assert [bool(axis.get_xlabel()) for axis in shown] == [False, False, True, True, True]
    assert shown[0].get_ylabel() == "return so far"
    assert to_png(figure)


def test_pictures_of_weights_survive_short_episodes() -> None:
    layers = (RNG.normal(size=(2, 20, 3, 4)).cumsum(1), RNG.normal(size=(2, 20, 4, 2)).cumsum(1))
    for layer in layers:
        layer[1, 6:] = np.nan  # before the event
    trace = _trace(np.ones((2, 100)), None, layers)
    figure = plot_weights({"undisturbed": trace, "zero@50": trace}, 50, "title")
    labels = [[text.get_text() for text in part.legends[0].get_texts()] for part in figure.subfigs]
    assert labels == [["start", "step 50", "end"], ["undisturbed", "zero@50", "layer 0, 3 x 4", "layer 1, 4 x 2"]]
    assert to_png(figure)
