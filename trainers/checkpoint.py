"""Checkpoints: one zip file holding `arrays.safetensors` and `meta.json`; nothing in it is ever executed."""

import io
import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

FORMAT = "spikegym-checkpoint"
VERSION = 1


class CheckpointError(ValueError):
    """A file that is not a whole checkpoint of ours."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it at the end: the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file at once, flushed to disk (see `replacing`)."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def save(path: str | Path, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    """Write a checkpoint; `meta` must be JSON."""
    header = {"format": FORMAT, "version": VERSION, **meta}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, data in (
            ("meta.json", json.dumps(header, indent=1).encode()),
            ("arrays.safetensors", save_arrays({k: np.array(v, order="C") for k, v in arrays.items()})),
        ):
            file.writestr(zipfile.ZipInfo(name), data)  # a fixed date: equal contents give equal files
    write_atomically(Path(path), buffer.getvalue())


def load(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and meta of a checkpoint; `CheckpointError` in one sentence when it is truncated, damaged or foreign."""
    try:
        with zipfile.ZipFile(path) as file:
            meta = json.loads(file.read("meta.json"))
            arrays = load_arrays(file.read("arrays.safetensors"))
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no checkpoint '{path}'.") from error
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError, UnicodeDecodeError, SafetensorError, OSError) as error:
        raise CheckpointError(f"'{path}' is not a whole spikegym checkpoint (truncated, damaged or foreign).") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise CheckpointError(f"'{path}' is not a spikegym checkpoint.")
    if meta.get("version") != VERSION:
        raise CheckpointError(f"'{path}' has checkpoint version {meta.get('version')}; this spikegym reads {VERSION}.")
    return arrays, meta
