import hashlib
import zipfile

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from trainers.supervised import shd_files
from trainers.supervised.shd import SHDDataset
from trainers.supervised.shd_files import read, write_synthetic

h5py = pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore:.*made-up digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("shd")
    write_synthetic(path, 120, 40)
    return path


def _file(path, times, units, labels=None, speakers=None):
    """A file of these samples in the published layout."""
    path.mkdir(parents=True, exist_ok=True)
    with h5py.File(path / "shd_train.h5", "w") as file:
        for name, values, dtype in (("times", times, np.float16), ("units", units, np.int32)):
            data = file.create_dataset(f"spikes/{name}", (len(values),), h5py.vlen_dtype(dtype))
            for i, value in enumerate(values):
                data[i] = np.asarray(value, dtype)
        file["labels"] = np.arange(len(times)) if labels is None else labels
        file["extra/speaker"] = np.arange(len(times)) if speakers is None else speakers
    return path


def test_synthetic_files_have_the_published_layout(folder) -> None:
    with h5py.File(folder / "shd_train.h5") as file:
        assert h5py.check_vlen_dtype(file["spikes/times"].dtype) == np.float16
        assert h5py.check_vlen_dtype(file["spikes/units"].dtype) == np.uint16
        assert len(file["spikes/times"]) == len(file["labels"]) == len(file["extra/speaker"]) == 120
        assert len(file["extra/keys"]) == 20
        assert {len(file[f"extra/meta_info/{n}"]) for n in ("gender", "age", "body_height")} == {12}
        assert file.attrs["synthetic"]
        assert all((np.diff(t.astype(float)) >= 0).all() for t in file["spikes/times"][:10])
    with pytest.raises(ValueError, match="exists already"):
        write_synthetic(folder)


def test_made_up_digits_say_so_and_are_the_same_for_a_seed(folder, tmp_path) -> None:
    with pytest.warns(UserWarning, match="made-up digits"):
        SHDDataset(folder)
    write_synthetic(tmp_path, 120, 40)
    first, second = read(folder / "shd_test.h5"), read(tmp_path / "shd_test.h5")
    np.testing.assert_array_equal(first.times, second.times)
    np.testing.assert_array_equal(first.units, second.units)


def test_denser_digits_have_as_many_times_the_spikes(folder, tmp_path) -> None:
    write_synthetic(tmp_path, 120, 40, density=5.0)
    few, many = (np.diff(read(path / "shd_train.h5").starts).mean() for path in (folder, tmp_path))
    assert many / few == pytest.approx(5.0, rel=0.1)
    with pytest.raises(ValueError, match=r"density=0 must lie in \[0.01, 100\]"):
        write_synthetic(tmp_path / "none", density=0)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("align_first", [True, False])
def test_bins_against_a_loop_over_spikes(folder, binary: bool, flip: bool, align_first: bool) -> None:
    data = SHDDataset(folder, "test", 0.01, 60, 70, binary, flip, align_first)
    digits = read(folder / "shd_test.h5")
    for i in (0, 7):
        expected = np.zeros((60, 70), int)
        times, units = (x[digits.starts[i] : digits.starts[i + 1]] for x in (digits.times, digits.units))
        for t, u in zip(times.astype(float), units.astype(int), strict=True):
            step = int((t - (times.min() if align_first else 0.0)) / 0.01 + 1e-6)
            if step < 60:
                expected[step, (699 - u if flip else u) // 10] += 1
        spikes, label = data[i]
        np.testing.assert_array_equal(spikes, expected > 0 if binary else expected)
        assert label == digits.labels[i]
    assert 0 < data.dropped < 1


def test_no_unit_and_no_bin_is_lost(tmp_path) -> None:
    _file(tmp_path, [[0.0, 0.25, 0.5], [0.75]], [[0, 699, 5], [3]], speakers=[0, 1])
    data = SHDDataset(tmp_path, "train", dt=0.05, n_steps=20, held_out=[1])
    assert {tuple(x) for x in data[0][0].nonzero().tolist()} == {(0, 0), (5, 699), (10, 5)}
    assert data.dropped == 0


def test_a_second_reading_comes_from_the_binned_copy(folder, monkeypatch) -> None:
    first = SHDDataset(folder, "test", n_channels=140)
    monkeypatch.setattr("trainers.supervised.shd.read", lambda _: pytest.fail("read again"))
    second = SHDDataset(folder, "test", n_channels=140)
    assert torch.equal(first[3][0], second[3][0])
    assert (second.labels == first.labels).all()


def test_batches_come_time_first_in_bytes(folder) -> None:
    data = SHDDataset(folder, "test", n_channels=70)
    x, y = next(iter(DataLoader(data, 8, collate_fn=SHDDataset.collate)))
    assert x.shape == (250, 8, 70)
    assert x.dtype == torch.uint8
    assert torch.equal(x[:, 3], data[3][0])
    assert y.tolist() == [int(data[i][1]) for i in range(8)]


@pytest.mark.parametrize("validation", ["speaker", "stratified"])
def test_training_and_validation_share_nothing(folder, validation: str) -> None:
    train, held = (SHDDataset(folder, split, validation=validation, n_channels=70) for split in ("train", "validation"))
    assert len(train) + len(held) == 120
    if validation == "speaker":
        assert not set(train.speakers) & set(held.speakers)
        assert len(set(held.speakers)) == 2
    else:
        assert np.bincount(held.labels, minlength=20).tolist() == [1] * 20  # a fifth of six, rounded
    sums = {tuple(x.sum(0).tolist()) for x, _ in (train[i] for i in range(len(train)))}
    assert not any(tuple(held[i][0].sum(0).tolist()) in sums for i in range(len(held)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "valid"}, "Did you mean 'validation'"),
        ({"dt": 0.5}, "dt=0.5 must be above 0 and at most 0.1 s"),
        ({"n_channels": 300}, "n_channels=300 must divide 700"),
        ({"n_steps": 0}, "n_steps=0 must be at least 1"),
        ({"validation": "speakers"}, "Did you mean 'speaker'"),
        ({"held_out": [11]}, "held_out=11 is no speaker"),
        ({"held_out": [1], "validation": "stratified"}, "goes with validation='speaker'"),
    ],
)
def test_bad_options_are_refused(folder, options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SHDDataset(folder, **({"n_channels": 70} | options))


@pytest.mark.parametrize(
    ("times", "units", "more", "message"),
    [
        ([[0.1], [-0.5]], [[1], [2]], {}, "Sample 1 .* has a spike at -0.5 s"),
        ([[0.1], [np.nan]], [[1], [2]], {}, "Sample 1 .* times must be 0 or more"),
        ([[0.1], [0.1]], [[1], [700]], {}, "Sample 1 .* has unit 700; units go from 0 to 699"),
        ([[0.1], []], [[1], []], {}, "Sample 1 .* is empty"),
        ([[0.1], [0.1, 0.2]], [[1], [1]], {}, "Sample 1 .* has 2 times, but 1 units"),
        ([[0.1], [0.1]], [[1], [1]], {"labels": [0, 20]}, "Sample 1 .* has label 20"),
        ([[0.1], [0.1]], [[1], [1]], {"labels": [0]}, "2, 2, 1, 2 times, units, labels and speakers"),
    ],
)
def test_files_that_make_no_sense_are_refused(tmp_path, times, units, more, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SHDDataset(_file(tmp_path, times, units, **more))


def test_missing_and_damaged_files(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Download shd_train\.h5\.zip from https://zenkelab\.org/datasets/"):
        SHDDataset(tmp_path)
    (tmp_path / "shd_train.h5").write_bytes(b"\x89HDF\r\n\x1a\n half of a file")
    with pytest.raises(ValueError, match="is not a whole file of spoken digits"):
        SHDDataset(tmp_path)


def test_downloads_are_checked_and_unpacked(folder, tmp_path, monkeypatch) -> None:
    with zipfile.ZipFile(tmp_path / "shd_test.h5.zip", "w") as archive:
        archive.write(folder / "shd_test.h5", "shd_test.h5")
    with pytest.raises(ValueError, match="is damaged: its md5 is"):
        SHDDataset(tmp_path, "test", n_channels=70)
    assert not (tmp_path / "shd_test.h5").exists()
    right = hashlib.md5((tmp_path / "shd_test.h5.zip").read_bytes()).hexdigest()
    monkeypatch.setitem(shd_files.MD5, "shd_test.h5.zip", right)
    assert len(SHDDataset(tmp_path, "test", n_channels=70)) == 40
