"""Spoken digits as a torch dataset of spike counts in time bins."""

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from policies.names import choose
from trainers.checkpoint import replacing
from trainers.supervised.shd_files import UNITS, Digits, find_file, read

COARSEST = 0.1  # seconds: a digit lasts 0.3 to 1.4
SPLITS = {"train": "train", "validation": "train", "test": "test"}
"""Which file each split is part of."""


class SHDDataset(Dataset[tuple[Tensor, Tensor]]):
    """Digits of one split, in `n_steps` bins of `dt` seconds.

    Item i is (spikes uint8 (T, C), label int64 ()); a list of items at once gives (T, B, C) and (B,), through the
    `__getitems__` of torch's DataLoader with `collate_fn=SHDDataset.collate`.
    Bin k holds the spikes with k dt <= t < (k + 1) dt; later ones are dropped (`dropped` tells which part of all). Binned
    samples are kept as bits (or bytes, when counts are wanted) in memory, and in a `.binned` folder beside the files.

    There is no published validation set. `validation="speaker"` holds the samples of some speakers back from training, by
    default two chosen by `seed`, as the test set has two speakers of its own; "stratified" holds back a fifth of every class.

    :param path: folder of shd_train.h5 and shd_test.h5, or of the downloaded .zip files
    :param split: "train", "validation" or "test"
    :param dt: width of a bin in seconds, at most 0.1
    :param n_steps: number of bins T
    :param n_channels: 700 or a divisor of it; neighbouring channels are added up
    :param binary: at most one spike a bin and channel; otherwise counts, up to 255
    :param flip: number channels from the top, as some published pipelines do
    :param align_first: count time from the first spike of every sample
    :param validation: "speaker" or "stratified"
    :param held_out: the speakers of the validation set
    :param seed: chooses the validation set
    :raises FileNotFoundError: when there is no file, with where to get it
    :raises ValueError: for options and files that make no sense
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        dt: float = 0.004,
        n_steps: int = 250,
        n_channels: int = UNITS,
        binary: bool = True,
        flip: bool = False,
        align_first: bool = False,
        validation: str = "speaker",
        held_out: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        part = choose("split", split, SPLITS)
        choose("validation", validation, dict.fromkeys(("speaker", "stratified")))
        if not 0 < dt <= COARSEST:
            raise ValueError(f"dt={dt} must be above 0 and at most {COARSEST} s: a digit lasts 0.3 to 1.4 s.")
        if n_steps < 1:
            raise ValueError(f"n_steps={n_steps} must be at least 1.")
        if n_channels < 1 or UNITS % n_channels:
            raise ValueError(f"n_channels={n_channels} must divide {UNITS}, such as 700, 350, 140 or 70.")
        self.n_steps, self.n_channels, self.binary = n_steps, n_channels, binary
        file = find_file(path, part)
        options = {
            "dt": dt,
            "n_steps": n_steps,
            "n_channels": n_channels,
            "binary": binary,
            "flip": flip,
            "first": align_first,
        }
        bins, self.labels, self.speakers, self.dropped, synthetic = _binned(file, options)
        if synthetic:
            warnings.warn(f"'{file}' holds made-up digits: accuracies on it mean nothing.", stacklevel=2)
        if split != "test":
            held = _held_back(self.labels, self.speakers, validation, held_out, seed)
            chosen = np.flatnonzero(held == (split == "validation"))
            bins, self.labels, self.speakers = bins[chosen], self.labels[chosen], self.speakers[chosen]
        self._bins = bins

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        spikes, labels = self.__getitems__([i])
        return spikes[:, 0], labels[0]

    def __getitems__(self, items: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Spikes uint8 (T, B, C) and labels int64 (B,) of these items."""
        bins = np.ascontiguousarray(self._bins[np.asarray(items)].swapaxes(0, 1))
        if self.binary:
            bins = np.unpackbits(bins, axis=2, count=self.n_channels)
        return torch.from_numpy(bins), torch.from_numpy(self.labels[np.asarray(items)])

    @staticmethod
    def collate(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Batches come whole from `__getitems__`."""
        return batch


def _binned(file: Path, options: dict[str, float | bool]) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, bool]:
    """Bins (N, T, C or C / 8), labels, speakers, the part of the spikes that was dropped, and whether they are made up."""
    state = file.stat()
    text = json.dumps([options, state.st_size, state.st_mtime_ns, 1], sort_keys=True)  # 1: the version of this layout
    cache = file.parent / ".binned" / f"{file.stem}_{hashlib.sha256(text.encode()).hexdigest()[:12]}.npz"
    if not cache.is_file():
        digits = read(file)
        bins, dropped = bin_spikes(digits, **options)  # type: ignore[arg-type]
        with replacing(cache) as temporary, open(temporary, "wb") as target:
            np.savez(
                target,
                bins=bins,
                labels=digits.labels,
                speakers=digits.speakers,
                dropped=dropped,
                synthetic=digits.synthetic,
            )
    with np.load(cache) as kept:
        bins, labels, speakers, dropped, synthetic = (kept[name] for name in kept.files)
    return bins, labels, speakers, float(dropped), bool(synthetic)


def bin_spikes(
    digits: Digits, dt: float, n_steps: int, n_channels: int, binary: bool, flip: bool, first: bool
) -> tuple[np.ndarray, float]:
    """Counts uint8 (N, T, C), or bits packed along the channels (N, T, ceil(C / 8)), and the part of spikes not in them."""
    n = len(digits.labels)
    out = np.zeros((n, n_steps, -(-n_channels // 8) if binary else n_channels), np.uint8)
    kept = 0
    for i in range(n):
        spikes = slice(digits.starts[i], digits.starts[i + 1])
        times, units = digits.times[spikes].astype(np.float64), digits.units[spikes].astype(np.int64)
        times = times - times.min() if first else times
        step = np.floor(times / dt + 1e-6).astype(np.int64)  # a time stored as k * dt belongs to bin k
        channel = (UNITS - 1 - units if flip else units) // (UNITS // n_channels)
        inside = step < n_steps
        counts = np.bincount(step[inside] * n_channels + channel[inside], minlength=n_steps * n_channels)
        counts = counts.reshape(n_steps, n_channels)
        out[i] = np.packbits(counts > 0, axis=1) if binary else np.minimum(counts, 255)
        kept += int(inside.sum())
    return out, 1.0 - kept / len(digits.times)


def _held_back(
    labels: np.ndarray, speakers: np.ndarray, validation: str, held_out: Sequence[int] | None, seed: int
) -> np.ndarray:
    """Which samples (N,) are for validation."""
    rng = np.random.default_rng(seed)
    known = np.unique(speakers)
    if validation == "stratified":
        if held_out is not None:
            raise ValueError("held_out names speakers; it goes with validation='speaker'.")
        held = np.zeros(len(labels), bool)
        for label in np.unique(labels):
            members = rng.permutation(np.flatnonzero(labels == label))
            held[members[: max(1, round(len(members) / 5))]] = True
        return held
    chosen = rng.choice(known, 2, replace=False) if held_out is None and len(known) > 2 else np.asarray(held_out or known[:1])
    for speaker in chosen:
        if speaker not in known:
            raise ValueError(f"held_out={speaker} is no speaker of the training file; it has {', '.join(map(str, known))}.")
    held = np.isin(speakers, chosen)
    if held.all():
        raise ValueError("The training file has one speaker alone, or all are held out; use validation='stratified'.")
    return held
