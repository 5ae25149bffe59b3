"""Tracks against those of Gymnasium's own builder, from the same generator."""

from typing import Any

import gymnasium
import numpy as np
import pytest

import envs  # noqa: F401

pytest.importorskip("Box2D")
pytest.importorskip("pygame")


def pair(**kwargs: Any) -> tuple[Any, Any]:
    """Gymnasium's environment and ours."""
    theirs = gymnasium.make("CarRacing-v3", **kwargs).unwrapped
    return theirs, gymnasium.make("CarRacingEarlyStop-v0", **kwargs).unwrapped


def body(tile: Any) -> tuple[Any, ...]:
    """All that a tile is to the physics, the reward and the picture."""
    (fixture,) = tile.fixtures
    return (
        fixture.shape.vertices,
        (fixture.sensor, fixture.friction, fixture.restitution, fixture.density),
        (tile.type, tuple(tile.position), tile.angle, tile.userData is tile),
        (tile.idx, tile.road_friction, tile.road_visited, tile.color.tolist()),
    )


def assert_same_track(theirs: Any, ours: Any) -> None:
    assert ours.track == theirs.track
    assert [body(tile) for tile in ours.road] == [body(tile) for tile in theirs.road]
    assert ours.world.bodyCount == theirs.world.bodyCount
    for (expected, color), (got, our_color) in zip(theirs.road_poly, ours.road_poly, strict=True):
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(our_color, color)
    assert ours.np_random.bit_generator.state == theirs.np_random.bit_generator.state


@pytest.mark.parametrize("domain_randomize", [False, True])
def test_tracks_of_the_same_seed_are_equal(domain_randomize: bool) -> None:
    theirs, ours = pair(domain_randomize=domain_randomize)
    for seed in range(20):
        theirs.reset(seed=seed), ours.reset(seed=seed)
        assert_same_track(theirs, ours)


def test_tracks_that_follow_each_other_are_equal() -> None:
    theirs, ours = pair()
    theirs.reset(seed=0), ours.reset(seed=0)
    lengths = set()
    for _ in range(8):
        for _ in range(3):  # leaves some tiles touched
            theirs.step(np.array([0.0, 1.0, 0.0])), ours.step(np.array([0.0, 1.0, 0.0]))
        theirs.reset(), ours.reset()
        assert_same_track(theirs, ours)
        lengths.add(len(ours.track))
    assert len(lengths) > 4


@pytest.mark.parametrize("seed", [36, 100, 105, 118])
def test_the_same_attempts_fail(seed: int) -> None:
    theirs, ours = pair()
    theirs.reset(seed=seed), ours.reset(seed=seed)
    assert_same_track(theirs, ours)
    theirs.np_random = np.random.default_rng(seed)
    ours.np_random = np.random.default_rng(seed)
    assert not theirs._create_track()
    assert not ours._create_track()
    assert ours.np_random.bit_generator.state == theirs.np_random.bit_generator.state


def test_tiles_that_moved_are_felt_where_they_are() -> None:
    theirs, ours = pair()
    theirs.reset(seed=0), ours.reset(seed=0)
    for seed in (1, 2):
        theirs.reset(seed=seed), ours.reset(seed=seed)
        for point in theirs.track[::10]:
            for env in (theirs, ours):
                for part in (env.car.hull, *env.car.wheels):
                    part.position = point[2:]
            action = np.array([0.1, 0.5, 0.0])
            assert theirs.step(action)[1] == ours.step(action)[1]
            touched = [[sorted(tile.idx for tile in wheel.tiles) for wheel in env.car.wheels] for env in (theirs, ours)]
            assert touched[0] == touched[1]
        assert ours.tile_visited_count > 25
