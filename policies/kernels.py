"""Sequences of LIF neurons as compiled loops for CPUs, which `policies.fused` uses where numba is installed (extra `fast`).

Potentials are counted from rest, in units of the gain: h_t = x_t + decay * v_(t-1); a neuron spikes where h_t > v_th, and
then v_t = 0 (hard reset) or h_t - jump (soft reset; jump 0: none), else v_t = h_t. Backwards the potentials are computed once
more, which is faster than to write them to memory and read them again.
"""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

Array = Any

BLOCK = 512  # neurons that are taken through all steps together, so that what they need stays in the nearest caches
SHARED_FROM = 2**18  # neurons times steps from which on threads share the work
SURROGATES = ("rectangular", "arctan", "fast_sigmoid", "gaussian", "multi_gaussian", "triangular")

# `contract` lets a * b + c be rounded once, as torch's kernels do.
compiled = njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")


def run(x: Tensor, v: Tensor, s: Tensor, *constants: Any) -> None:
    """`lif` on tensors (T, ...), (...), (T, ...), all but x contiguous."""
    _share(lif, (_rows(x), _flat(v), _rows(s)), constants)


def run_back(x: Tensor, v: Tensor, gs: Tensor, g: Tensor, out: Tensor, *constants: Any) -> None:
    """`lif_back` on tensors (T, ...), (...), (T, ...), (...), (T, ...), of which v, g and out are contiguous."""
    _share(lif_back, (_rows(x), _flat(v), _rows(gs), _flat(g), _rows(out)), constants)


@compiled
def lif(
    x: Array, v: Array, s: Array, decay: float, v_th: float, jump: float, hard: bool, first: int, last: int
) -> None:  # fmt: skip
    """Take neurons from `first` to before `last` through all steps.

    :param x: currents (T, M), or (1, M) where they are the same at every step
    :param v: potentials (M,), which become those after the last step
    :param s: spikes, is written (T, M)
    """
    one, nil = x.dtype.type(1.0), x.dtype.type(0.0)
    decay, v_th, jump = x.dtype.type(decay), x.dtype.type(v_th), x.dtype.type(jump)
    for start in range(first, last, BLOCK):
        end = min(start + BLOCK, last)
        vb = v[start:end]
        for t in range(s.shape[0]):
            xb, sb = x[t if x.shape[0] > 1 else 0, start:end], s[t, start:end]
            for i in range(vb.shape[0]):
                u = xb[i] + decay * vb[i]
                sb[i] = one if u > v_th else nil
                vb[i] = (nil if hard else u - jump) if u > v_th else u


@compiled
def lif_back(
    x: Array, v: Array, gs: Array, g: Array, out: Array, decay: float, v_th: float, jump: float, hard: bool, detached: bool,
    kind: int, width: float, scale: float, first: int, last: int,
) -> None:  # fmt: skip
    """Gradients of the currents from those of the spikes and of the last potentials.

    :param x: currents as above, and `v` the potentials before the first step, which are overwritten
    :param gs: gradients of the spikes (T, M)
    :param g: gradients of the potentials after the last step (M,), which become those of the potentials before the first
    :param out: gradients of the currents of every step, is written (T, M)
    :param detached: no gradient passes through the reset
    :param kind: which of `SURROGATES`, with its width and scale
    """
    nil, half, one = x.dtype.type(0.0), x.dtype.type(0.5), x.dtype.type(1.0)
    decay, v_th, jump = x.dtype.type(decay), x.dtype.type(v_th), x.dtype.type(jump)
    scale, inverse, pi = x.dtype.type(scale), x.dtype.type(1.0 / width), x.dtype.type(np.pi)
    bell = x.dtype.type(1.0 / np.sqrt(2.0 * np.pi)) * scale
    middle, side, sixth = x.dtype.type(1.15), x.dtype.type(0.15 / 6.0), x.dtype.type(1.0 / 6.0)
    lost = nil if detached else jump
    steps = gs.shape[0]
    slope = np.empty(BLOCK, x.dtype)
    h = np.empty((steps, BLOCK), x.dtype)
    for start in range(first, last, BLOCK):
        end = min(start + BLOCK, last)
        gb, vb = g[start:end], v[start:end]
        size = gb.shape[0]
        for t in range(steps):
            xb, hb = x[t if x.shape[0] > 1 else 0, start:end], h[t, : end - start]
            for i in range(size):
                u = xb[i] + decay * vb[i]
                hb[i] = u
                vb[i] = (nil if hard else u - jump) if u > v_th else u
        for t in range(steps - 1, -1, -1):
            hb, gsb, ob = h[t, : end - start], gs[t, start:end], out[t, start:end]
            if kind == 0:
                for i in range(size):
                    slope[i] = scale if abs((hb[i] - v_th) * inverse) < half else nil
            elif kind == 1:
                for i in range(size):
                    u = pi * ((hb[i] - v_th) * inverse)
                    slope[i] = scale / (one + u * u)
            elif kind == 2:
                for i in range(size):
                    u = one + abs((hb[i] - v_th) * inverse)
                    slope[i] = scale / (u * u)
            elif kind == 3:
                for i in range(size):
                    u = (hb[i] - v_th) * inverse
                    slope[i] = bell * np.exp(-half * u * u)
            elif kind == 4:
                for i in range(size):
                    u = (hb[i] - v_th) * inverse
                    left, right = (u + one) * sixth, (u - one) * sixth
                    sides = np.exp(-half * left * left) + np.exp(-half * right * right)
                    slope[i] = bell * (middle * np.exp(-half * u * u) - side * sides)
            else:
                for i in range(size):
                    slope[i] = scale * max(one - abs((hb[i] - v_th) * inverse), nil)
            # Three loops, since a branch that is the same for all neurons keeps a loop from being vectorised.
            if hard and not detached:
                for i in range(size):
                    new = (gsb[i] - gb[i] * hb[i]) * slope[i] + (nil if hb[i] > v_th else gb[i])
                    ob[i] = new
                    gb[i] = decay * new
            elif hard:
                for i in range(size):
                    new = gsb[i] * slope[i] + (nil if hb[i] > v_th else gb[i])
                    ob[i] = new
                    gb[i] = decay * new
            else:
                for i in range(size):
                    new = (gsb[i] - gb[i] * lost) * slope[i] + gb[i]
                    ob[i] = new
                    gb[i] = decay * new


def _rows(x: Tensor) -> Array:
    """(T, ...) as an array (T, M), or (1, M) where all rows are one in memory."""
    return (x[:1] if x.stride(0) == 0 else x).detach().contiguous().numpy().reshape(-1, x[0].numel())


def _flat(x: Tensor) -> Array:
    return x.detach().numpy().reshape(-1)


def _share(kernel: Callable[..., None], arrays: tuple[Array, ...], constants: tuple[Any, ...]) -> None:
    """Let torch's number of threads work on equal parts of the neurons; small layers are faster with one."""
    size = arrays[1].shape[0]
    threads = torch.get_num_threads() if size * max(a.shape[0] for a in (arrays[0], arrays[2])) >= SHARED_FROM else 1
    bounds = [size * i // threads for i in range(threads + 1)]
    parts = [(*arrays, *constants, a, b) for a, b in pairwise(bounds)]
    others = [_pool(os.getpid(), threads).submit(kernel, *part) for part in parts[1:]]
    kernel(*parts[0])
    for other in others:
        other.result()


@functools.lru_cache(maxsize=2)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of this process; those of a parent process do not come along with a fork."""
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="spikegym")
