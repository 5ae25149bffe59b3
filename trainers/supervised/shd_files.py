"""The files of the Spiking Heidelberg Digits (Cramer et al., IEEE TNNLS 33:2744-2757, 2022), and synthetic ones like them.

shd_train.h5 and shd_test.h5 hold, for N spoken digits:

    /spikes/times    N arrays of seconds, as many as the digit has spikes
    /spikes/units    N arrays of cochlea channels, 0 to 699
    /labels          N numbers: 0 to 9 are English digits, 10 to 19 German ones
    /extra/speaker   N numbers of speakers, 0 to 11
    /extra/keys      names of the 20 classes
    /extra/meta_info gender, age and body_height of the 12 speakers
"""

import hashlib
import shutil
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainers.checkpoint import replacing

UNITS = 700
CLASSES = 20
SPEAKERS = 12
PAGE = "https://zenkelab.org/datasets/"
MD5 = {"shd_train.h5.zip": "f3252aeb598ac776c1b526422d90eecb", "shd_test.h5.zip": "1503a5064faa34311c398fb0a1ed0a6f"}
"""Of the files as they are offered for download."""
KEYS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "null", "eins", "zwei", "drei", "vier", "fuenf", "sechs", "sieben", "acht", "neun",
)  # fmt: skip


class Digits(NamedTuple):
    """What a file holds: all spikes one after the other, and where each sample's begin."""

    times: np.ndarray  # float32 (S,), seconds
    units: np.ndarray  # uint16 (S,)
    starts: np.ndarray  # int64 (N + 1,): sample i has spikes starts[i] to starts[i + 1]
    labels: np.ndarray  # int64 (N,)
    speakers: np.ndarray  # int64 (N,)
    synthetic: bool


def find_file(folder: str | Path, part: str) -> Path:
    """The file of a part ("train" or "test"); a downloaded .zip beside it is checked and unpacked first.

    FileNotFoundError says where to get it; ValueError when the download is damaged.
    """
    path = Path(folder) / f"shd_{part}.h5"
    packed = path.with_name(path.name + ".zip")
    if not path.is_file() and packed.is_file():
        _unpack(packed, path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no '{path}'. Download {packed.name} from {PAGE} into that folder, or try the pipeline on made-up "
            f"digits: python -m trainers.supervised synthetic-shd {folder}"
        )
    return path


def read(path: Path) -> Digits:
    """All samples of a file; ValueError in one sentence when it is damaged or its contents make no sense."""
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            times, units = file["spikes/times"][:], file["spikes/units"][:]
            labels, speakers = np.asarray(file["labels"], np.int64), np.asarray(file["extra/speaker"], np.int64)
            synthetic = bool(file.attrs.get("synthetic", False))
    except (OSError, KeyError, RuntimeError) as error:
        raise ValueError(f"'{path}' is not a whole file of spoken digits ({error}); get it anew from {PAGE}.") from error
    counts = np.array([len(t) for t in times], np.int64)
    for i, (t, u) in enumerate(zip(times, units, strict=False)):
        if len(t) != len(u):
            raise ValueError(f"Sample {i} of '{path}' has {len(t)} times, but {len(u)} units; they must be as many.")
    if not len(times) == len(units) == len(labels) == len(speakers):
        sizes = ", ".join(str(len(x)) for x in (times, units, labels, speakers))
        raise ValueError(f"'{path}' has {sizes} times, units, labels and speakers; they must be as many.")
    if not len(times):
        raise ValueError(f"'{path}' holds no samples.")
    if not counts.all():
        raise ValueError(f"Sample {int(np.argmin(counts))} of '{path}' is empty: every digit must have a spike.")
    # Times may be stored as float16, in which arithmetic would round them to milliseconds.
    digits = Digits(
        np.concatenate(times).astype(np.float32),
        np.concatenate(units).astype(np.int64),
        np.concatenate([[0], np.cumsum(counts)]),
        labels,
        speakers,
        synthetic,
    )
    _check(digits, path)
    return digits._replace(units=digits.units.astype(np.uint16))


def write_synthetic(
    folder: str | Path, n_train: int = 4000, n_test: int = 1000, seed: int = 0, density: float = 1.0
) -> list[Path]:
    """Write files of exactly that layout, filled with made-up digits: shd_train.h5 and shd_test.h5 of a folder.

    A digit of class c is a chirp: a ridge of spikes whose channel moves over time from one height to a second and a third,
    each low, middle or high as c in base three says, at a pitch of the speaker, for 0.3 to 1.2 s, over a background of random
    spikes. Classes are further apart than speakers, and so easier to tell than spoken digits. The files say that they are
    synthetic.
    Existing files are refused (ValueError), so that real ones are not lost.

    :param density: how many times as many spikes as 880 to 1,760 a digit has
    """
    for n in (n_train, n_test):
        if n < 1:
            raise ValueError(f"{n} samples cannot be written; give at least 1.")
    if not 0.01 <= density <= 100:
        raise ValueError(f"density={density} must lie in [0.01, 100].")
    paths = [Path(folder) / f"shd_{part}.h5" for part in ("train", "test")]
    for path in paths:
        if path.exists():
            raise ValueError(f"'{path}' exists already; give another folder, or remove it.")
    for path, n, speakers, stream in zip(paths, (n_train, n_test), ((0, 10), (0, 12)), (0, 1), strict=True):
        _write(path, n, speakers, density, np.random.default_rng([seed, stream]))
    return paths


def _write(path: Path, n: int, speakers: tuple[int, int], density: float, rng: np.random.Generator) -> None:
    h5py = _h5py()
    labels, speaker = rng.permutation(np.arange(n) % CLASSES), rng.integers(*speakers, n)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["synthetic"] = True
        times = file.create_dataset("spikes/times", (n,), h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (n,), h5py.vlen_dtype(np.uint16))
        for i in range(n):
            times[i], units[i] = _chirp(int(labels[i]), int(speaker[i]), density, rng)
        file["labels"] = labels.astype(np.uint16)
        file["extra/speaker"] = speaker.astype(np.uint16)
        file["extra/keys"] = np.array(KEYS, dtype="S8")
        file["extra/meta_info/gender"] = np.array(["female", "male"] * (SPEAKERS // 2), dtype="S8")
        file["extra/meta_info/age"] = np.arange(20, 20 + SPEAKERS, dtype=np.uint16)
        file["extra/meta_info/body_height"] = np.arange(160, 160 + SPEAKERS, dtype=np.uint16)


def _chirp(label: int, speaker: int, density: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sorted times and units of one made-up digit."""
    heights = 150.0 + 200.0 * np.array([label // 9, label // 3 % 3, label % 3])
    duration = rng.uniform(0.3, 1.2)
    ridge = rng.uniform(0.0, 1.0, int(density * rng.integers(800, 1600)))
    noise = rng.uniform(0.0, 1.0, int(density * rng.integers(80, 160)))
    pitch = 8.0 * (speaker - (SPEAKERS - 1) / 2) + rng.normal(0.0, 10.0)
    curve = np.interp(ridge, (0.0, 0.5, 1.0), heights) + pitch + rng.normal(0.0, 15.0, len(ridge))
    phase = np.concatenate([ridge, noise])
    units = np.concatenate([curve, rng.uniform(0, UNITS, len(noise))])
    order = np.argsort(phase)
    return (duration * phase[order]).astype(np.float16), np.clip(units[order], 0, UNITS - 1).astype(np.uint16)


def _unpack(packed: Path, path: Path) -> None:
    """Unpack a download whose checksum is right."""
    with open(packed, "rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    expected = MD5[packed.name]
    if found != expected:
        raise ValueError(f"'{packed}' is damaged: its md5 is {found}, not {expected}; download it again from {PAGE}.")
    with (
        replacing(path) as temporary,
        zipfile.ZipFile(packed) as archive,
        archive.open(path.name) as source,
        open(temporary, "wb") as target,
    ):
        shutil.copyfileobj(source, target)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ValueError("Files of spoken digits need h5py: pip install 'spikegym[shd]'.") from error
    return h5py


def _check(digits: Digits, path: Path) -> None:
    def sample(spike: Any) -> int:
        return int(np.searchsorted(digits.starts, spike, side="right") - 1)

    beyond = np.flatnonzero((digits.units < 0) | (digits.units >= UNITS))
    if len(beyond):
        unit = digits.units[beyond[0]]
        raise ValueError(f"Sample {sample(beyond[0])} of '{path}' has unit {unit}; units go from 0 to {UNITS - 1}.")
    wrong = np.flatnonzero(~(digits.times >= 0) | ~np.isfinite(digits.times))
    if len(wrong):
        time = digits.times[wrong[0]]
        raise ValueError(f"Sample {sample(wrong[0])} of '{path}' has a spike at {time} s; times must be 0 or more.")
    strange = np.flatnonzero((digits.labels < 0) | (digits.labels >= CLASSES))
    if len(strange):
        i = int(strange[0])
        raise ValueError(f"Sample {i} of '{path}' has label {digits.labels[i]}; labels go from 0 to {CLASSES - 1}.")
