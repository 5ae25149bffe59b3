import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers import checkpoint
from trainers.checkpoint import CheckpointError
from trainers.schedules import make_generation_schedule, make_schedule

ARRAYS = {"scalar": np.float32(3.5), "matrix": np.arange(6, dtype=np.int32).reshape(2, 3), "empty": np.zeros((0, 2))}


def test_arrays_and_meta_come_back_as_they_were(tmp_path) -> None:
    path = tmp_path / "deep" / "c.zip"
    checkpoint.save(path, ARRAYS, {"generation": 7})
    arrays, meta = checkpoint.load(path)
    assert meta["generation"] == 7
    for name, value in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], value)
        assert arrays[name].shape == np.shape(value)
        assert arrays[name].dtype == value.dtype
    assert [p.name for p in path.parent.iterdir()] == ["c.zip"]


@given(cut=st.floats(0.0, 0.999))
def test_a_truncated_file_is_refused_wherever_it_was_cut(tmp_path_factory, cut: float) -> None:
    path = tmp_path_factory.mktemp("cut") / "c.zip"
    checkpoint.save(path, ARRAYS, {})
    data = path.read_bytes()
    path.write_bytes(data[: int(cut * len(data))])
    with pytest.raises(CheckpointError, match="not a whole spikegym checkpoint"):
        checkpoint.load(path)


def test_damaged_foreign_newer_and_missing_files_are_refused(tmp_path) -> None:
    path = tmp_path / "c.zip"
    checkpoint.save(path, {"x": np.zeros(100)}, {})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="not a whole"):
        checkpoint.load(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data.pkl", b"cos\nsystem\n")
    with pytest.raises(CheckpointError, match="not a whole"):
        checkpoint.load(path)
    checkpoint.save(path, {}, {"version": 99})
    with pytest.raises(CheckpointError, match="version 99"):
        checkpoint.load(path)
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        checkpoint.load(tmp_path / "none.zip")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "c.zip"
    checkpoint.save(path, {}, {"generation": 1})

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, {}, {"generation": 2})
    assert checkpoint.load(path)[1]["generation"] == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_meta_is_json(tmp_path) -> None:
    checkpoint.save(tmp_path / "c.zip", {}, {"a": [1, None]})
    with zipfile.ZipFile(tmp_path / "c.zip") as file:
        assert json.loads(file.read("meta.json"))["a"] == [1, None]


def test_schedules() -> None:
    assert make_schedule(0.3, "x")(0.1) == 0.3
    assert make_schedule("0.3", "x")(0.1) == 0.3
    assert make_schedule("lin_0.4", "x")(0.25) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="sigma='cos_1' is neither"):
        make_schedule("cos_1", "sigma")


def test_geometric_schedules_have_the_published_values() -> None:
    """Najarro & Risi 2020: after 300 and 500 generations."""
    rate = make_generation_schedule("exp_0.2_0.995_0.001", "learning_rate")
    sigma = make_generation_schedule("exp_0.1_0.999_0.01", "sigma")
    assert (rate(1.0, 0), sigma(1.0, 0)) == (0.2, 0.1)
    assert [round(rate(0.5, g), 4) for g in (300, 500)] == [0.0445, 0.0163]
    assert [round(sigma(0.5, g), 4) for g in (300, 500)] == [0.0741, 0.0606]
    assert (rate(0.0, 10_000), sigma(0.0, 10_000)) == (0.001, 0.01)
    assert make_generation_schedule("lin_0.4", "x")(0.25, 7) == pytest.approx(0.1)
    for wrong, sentence in (
        ("exp_0.2_0.995", "is not of the form 'exp_START_FACTOR_FLOOR'"),
        ("exp_0.2_1.5_0.1", r"must have a factor in \(0, 1\]"),
        ("exp_0.2_0.9_0.3", "a floor from 0 to its start"),
        ("cos_1", "is neither a number nor a schedule"),
    ):
        with pytest.raises(ValueError, match=sentence):
            make_generation_schedule(wrong, "sigma")
