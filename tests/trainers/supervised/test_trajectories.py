import numpy as np
import pytest
import torch

from trainers.supervised.trajectories import RobotTrajectoryDataset


def test_the_published_test_set() -> None:
    """First values of the published generator, seed 3000."""
    data = RobotTrajectoryDataset("test", 2, preset="published", scaling="minmax")
    omega, xy = data[0]
    np.testing.assert_allclose(omega[:3], [[-78.68723, 22.37413], [-92.05042, 24.64933], [-93.63549, 27.34440]], rtol=1e-6)
    np.testing.assert_allclose(xy[:3], [[3.62891, 5.91403], [4.52474, 4.86869], [5.40461, 3.80486]], rtol=2e-6)
    assert omega.dtype == xy.dtype == torch.float32


def test_inverse_swaps_what_is_given() -> None:
    forward, inverse = (RobotTrajectoryDataset("train", 3, direction) for direction in ("forward", "inverse"))
    assert torch.equal(forward[1][0], inverse[1][1])
    assert torch.equal(forward[1][1], inverse[1][0])
    assert forward[0][0].shape == (250, 2)


def test_splits_share_no_movement() -> None:
    sets = [
        RobotTrajectoryDataset(split, 50, seed=seed).inputs for split in ("train", "validation", "test") for seed in (0, 1)
    ]
    first = torch.cat(sets)[:, 0]
    assert len(first.unique(dim=0)) == 300


def test_batches_come_time_first() -> None:
    data = RobotTrajectoryDataset("train", 5)
    x, y = data.__getitems__([3, 1])
    assert x.shape == y.shape == (250, 2, 2)
    assert torch.equal(x[:, 1], data[1][0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tests"}, "Did you mean 'test'"),
        ({"direction": "back"}, "Unknown direction"),
        ({"scaling": "min-max"}, "Did you mean 'minmax'"),
        ({"preset": "eprop2"}, "Did you mean 'eprop'"),
        ({"seed": 1000}, "seed=1000 must lie in 0 to 999"),
        ({"n_samples": 0}, "n_samples=0 must be at least 1"),
    ],
)
def test_bad_options_are_refused(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RobotTrajectoryDataset(**options)
