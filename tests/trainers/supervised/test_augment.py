import numpy as np
import pytest
import torch

from trainers.supervised.augment import Augmentation


def _digits():
    return (torch.rand(30, 4, 20, generator=torch.Generator().manual_seed(0)) < 0.3).float()


def _draw(seed=1, **options):
    return Augmentation(**options)(_digits(), torch.Generator().manual_seed(seed))


def test_nothing_asked_for_changes_nothing() -> None:
    assert torch.equal(_draw(), _digits())


@pytest.mark.parametrize(("option", "dim"), [("shift_channels", 2), ("shift_steps", 0)])
def test_a_shift_moves_each_sample_as_a_whole(option: str, dim: int) -> None:
    x, y = _digits().numpy(), _draw(**{option: 5}).numpy()
    found = set()
    for b in range(4):
        a, c = np.moveaxis(x[:, b], 1 if dim == 2 else 0, 0), np.moveaxis(y[:, b], 1 if dim == 2 else 0, 0)
        n = len(a)
        fits = [by for by in range(-5, 6) if (c[max(by, 0) : n + min(by, 0)] == a[max(-by, 0) : n - max(by, 0)]).all()]
        assert len(fits) == 1
        (by,) = fits
        assert c[:by].sum() == 0 if by > 0 else c[n + by :].sum() == 0
        found.add(by)
    assert len(found) > 1


def test_jitter_keeps_steps_and_noise_and_drop_have_their_rates() -> None:
    x = _digits()
    jittered = _draw(jitter_channels=1.0)
    assert (jittered.sum(dim=2) <= x.sum(dim=2)).all()
    assert not torch.equal(jittered, x)
    noisy = _draw(noise=0.1)
    assert (noisy >= x).all()
    assert ((noisy - x).sum() / (1 - x).sum()).item() == pytest.approx(0.1, abs=0.03)
    dropped = _draw(drop=0.4)
    assert (dropped <= x).all()
    assert (dropped.sum() / x.sum()).item() == pytest.approx(0.6, abs=0.07)


def test_the_same_seed_draws_the_same() -> None:
    options = {"shift_channels": 3, "jitter_channels": 1.0, "shift_steps": 2, "noise": 0.1, "drop": 0.1}
    assert torch.equal(_draw(3, **options), _draw(3, **options))
    assert not torch.equal(_draw(3, **options), _draw(4, **options))


@pytest.mark.parametrize(
    ("options", "message"), [({"noise": 2.0}, r"noise=2.0 must lie in \[0, 1\]"), ({"shift_steps": -1}, "-1")]
)
def test_bad_options_are_refused(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)
