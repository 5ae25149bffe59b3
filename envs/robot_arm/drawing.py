"""Pictures of the arm in plain NumPy: smooth strokes from the distance of every pixel to a line."""

from collections.abc import Sequence

import numpy as np

from envs.robot_arm.views import Point

SIZE = 480  # pixels along a side
PAPER = (250, 249, 246)
REACH = (240, 238, 232)
TARGET_PATH = (120, 186, 182)
TARGET = (0, 128, 128)
TRACE = (232, 119, 61)
ARM = (56, 66, 84)
JOINT = (246, 246, 244)


def _cover(mask: np.ndarray, a: Point, b: Point, radius: float) -> None:
    """Raise `mask` (SIZE, SIZE) to the coverage in [0, 1] of a round-ended stroke from pixel `a` to pixel `b`."""
    margin = radius + 1.0
    left, right = max(int(min(a[0], b[0]) - margin), 0), min(int(max(a[0], b[0]) + margin) + 2, SIZE)
    top, bottom = max(int(min(a[1], b[1]) - margin), 0), min(int(max(a[1], b[1]) + margin) + 2, SIZE)
    dx, dy = b[0] - a[0], b[1] - a[1]
    px = np.arange(left, right, dtype=np.float32)[None, :] - a[0]
    py = np.arange(top, bottom, dtype=np.float32)[:, None] - a[1]
    along = np.clip((px * dx + py * dy) / max(dx * dx + dy * dy, 1e-9), 0.0, 1.0)
    distance = np.hypot(px - along * dx, py - along * dy)
    part = mask[top:bottom, left:right]
    np.maximum(part, np.clip(radius + 0.5 - distance, 0.0, 1.0), out=part)


def _ink(canvas: np.ndarray, mask: np.ndarray, color: tuple[int, int, int]) -> None:
    """Lay `color` over a float canvas (SIZE, SIZE, 3) where `mask` covers it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size:
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        canvas[box] += mask[box][..., None] * (np.array(color, np.float32) - canvas[box])


class Painter:
    """Frames of one episode: the path of the targets is drawn once, the trace of the tip grows with every frame."""

    def __init__(self, targets: Sequence[Point], links: tuple[float, float]) -> None:
        self.scale = SIZE / (2.2 * sum(links))
        self.paper = np.empty((SIZE, SIZE, 3), np.float32)
        self.paper[:] = PAPER
        self._stroke(self.paper, [(0.0, 0.0)], sum(links) * self.scale, REACH)
        self._stroke(self.paper, targets, 1.75, TARGET_PATH)
        self.trace = np.zeros((SIZE, SIZE), np.float32)
        self.traced = 1

    def frame(self, elbow: Point, tip: Point, target: Point, trace: Sequence[Point]) -> np.ndarray:
        """Frame (SIZE, SIZE, 3) uint8; `trace` holds all tips of the episode so far."""
        for i in range(self.traced, len(trace)):
            _cover(self.trace, self._pixel(trace[i - 1]), self._pixel(trace[i]), 1.5)
        self.traced = max(len(trace), 1)
        canvas = self.paper.copy()
        _ink(canvas, self.trace, TRACE)
        self._stroke(canvas, [target], 7.0, TARGET)
        self._stroke(canvas, [(0.0, 0.0), elbow, tip], 7.0, ARM)
        for joint in ((0.0, 0.0), elbow):
            self._stroke(canvas, [joint], 10.0, ARM)
            self._stroke(canvas, [joint], 5.0, JOINT)
        self._stroke(canvas, [tip], 3.5, TRACE)
        return np.rint(canvas).astype(np.uint8)

    def _pixel(self, point: Point) -> Point:
        return SIZE / 2 + self.scale * point[0], SIZE / 2 - self.scale * point[1]

    def _stroke(self, canvas: np.ndarray, points: Sequence[Point], radius: float, color: tuple[int, int, int]) -> None:
        mask = np.zeros((SIZE, SIZE), np.float32)
        pixels = [self._pixel(point) for point in points]
        for a, b in zip(pixels, pixels[1:] or pixels, strict=False):
            _cover(mask, a, b, radius)
        _ink(canvas, mask, color)
