"""The pictures against Gymnasium's own CarRacing-v3, driven with the same seed and actions."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest

import envs  # noqa: F401

pytest.importorskip("Box2D")
pytest.importorskip("pygame")

Step = tuple[np.ndarray, np.ndarray, Any, Any]


def drive(seed: int, frames: int) -> np.ndarray:
    """(frames, 3) actions: stretches of steering, gas and the occasional brake, so that the car gets around."""
    rng = np.random.default_rng(seed)
    stretches = rng.uniform([-0.5, 0, 0], [0.5, 1, 1], (frames // 15 + 1, 3))
    stretches[:, 2] *= rng.random(len(stretches)) < 0.15
    return np.repeat(stretches, 15, axis=0)[:frames]


def put(env: gymnasium.Env, x: float, y: float, speed: float = 0.0) -> None:
    """Move the car to (x, y), rolling in the direction of x."""
    car = env.unwrapped.car
    dx, dy = x - car.hull.position[0], y - car.hull.position[1]
    for body in (car.hull, *car.wheels):
        body.position = (body.position[0] + dx, body.position[1] + dy)
        body.linearVelocity = (speed, 0)


def side_by_side(seed: int, frames: int, domain_randomize: bool = False, **ours: Any) -> Iterator[Step]:
    """Observation of v3 and of ours, then the rest of both steps, frame by frame."""
    theirs = gymnasium.make("CarRacing-v3", domain_randomize=domain_randomize)
    mine = gymnasium.make("CarRacingEarlyStop-v0", patience=None, domain_randomize=domain_randomize, **ours)
    yield theirs.reset(seed=seed)[0], mine.reset(seed=seed)[0], (), ()
    for action in drive(seed, frames):
        expected, got = theirs.step(action), mine.step(action)
        yield expected[0], got[0], expected[1:4], got[1:4]
        if expected[2]:
            return


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_exact_equals_gymnasium(seed: int) -> None:
    for frame, (expected, got, their_rest, our_rest) in enumerate(side_by_side(seed, 250, domain_randomize=seed % 2 == 1)):
        assert np.array_equal(expected, got), f"frame {frame}: {(expected != got).sum()} values differ"
        assert their_rest == our_rest


def test_exact_equals_gymnasium_at_the_edge_of_the_field() -> None:
    theirs = gymnasium.make("CarRacing-v3")
    mine = gymnasium.make("CarRacingEarlyStop-v0", patience=None)
    theirs.reset(seed=0), mine.reset(seed=0)
    for env in (theirs, mine):
        put(env, 310, 250)
    for _ in range(60):
        expected, got = theirs.step(np.array([0.3, 1.0, 0.0])), mine.step(np.array([0.3, 1.0, 0.0]))
        assert np.array_equal(expected[0], got[0])
    assert (got[0][:84] == 0).all(axis=2).sum() > 200, "nothing beyond the field was in sight"


def test_fast_is_close_to_exact_on_ten_tracks() -> None:
    differences = []
    for seed in range(10):
        pictures = list(side_by_side(seed, 80, domain_randomize=seed % 2 == 1, renderer="fast"))[::8]
        differences += [np.abs(expected.astype(int) - got).mean() for expected, got, _, _ in pictures]
    assert np.mean(differences) < 2
    assert np.max(differences) < 4


@pytest.mark.parametrize("obs_size", [64, 84])
def test_fast_is_close_to_exact_at_other_sizes(obs_size: int) -> None:
    exact, fast = (gymnasium.make("CarRacingEarlyStop-v0", renderer=name, obs_size=obs_size) for name in ("exact", "fast"))
    exact.reset(seed=5), fast.reset(seed=5)
    for action in drive(5, 20):
        expected, got = exact.step(action)[0], fast.step(action)[0]
        assert got.shape == (obs_size, obs_size, 3)
        assert np.abs(expected.astype(int) - got).mean() < 4


def test_indicators_of_fast_are_those_of_gymnasium() -> None:
    for expected, got, _, _ in side_by_side(3, 60, renderer="fast"):
        assert np.abs(expected[84:].astype(int) - got[84:]).max() <= 1


def test_touched_tiles_lose_their_shade_in_videos_too() -> None:
    theirs = gymnasium.make("CarRacing-v3", render_mode="rgb_array")
    mine = gymnasium.make("CarRacingEarlyStop-v0", render_mode="rgb_array")
    theirs.reset(seed=0), mine.reset(seed=0)
    for action in drive(0, 30):
        theirs.step(action), mine.step(action)
    assert np.array_equal(theirs.render(), mine.render())


def test_grayscale_is_the_brightness_of_the_colours() -> None:
    colored, gray = (gymnasium.make("CarRacingEarlyStop-v0", grayscale=flag) for flag in (False, True))
    picture, shades = colored.reset(seed=1)[0], gray.reset(seed=1)[0]
    assert shades.shape == (96, 96, 1)
    assert np.abs(picture @ np.array([0.299, 0.587, 0.114]) - shades[..., 0]).max() <= 0.51


def test_frame_skip_shows_every_third_frame_and_sums_its_rewards() -> None:
    single = gymnasium.make("CarRacingEarlyStop-v0", patience=None)
    triple = gymnasium.make("CarRacingEarlyStop-v0", patience=None, frame_skip=3)
    single.reset(seed=4), triple.reset(seed=4)
    for action in drive(4, 20):
        frames = [single.step(action) for _ in range(3)]
        state, reward, *_ = triple.step(action)
        assert np.array_equal(state, frames[-1][0])
        assert reward == pytest.approx(sum(frame[1] for frame in frames))


def test_frame_skip_draws_the_frame_on_which_the_episode_ends() -> None:
    single = gymnasium.make("CarRacingEarlyStop-v0", patience=None)
    skipping = gymnasium.make("CarRacingEarlyStop-v0", patience=None, frame_skip=10)
    gas = np.array([0.0, 1.0, 0.0])
    for env in (single, skipping):
        env.reset(seed=0)
        put(env, 331, 0, speed=60)
    terminated, rewards = False, []
    while not terminated:
        expected, reward, terminated, *_ = single.step(gas)
        rewards.append(reward)
    got, reward, terminated, _, info = skipping.step(gas)
    assert 1 < len(rewards) < 10
    assert terminated
    assert not info["early_stop"]
    assert reward == pytest.approx(sum(rewards))
    assert np.array_equal(expected, got)
