"""Random tracks, number for number those of Gymnasium's CarRacing from the same generator, several times faster.

An attempt at a track draws twelve checkpoints, drives around them and keeps the last whole lap. It is made into polygons all
at once, and the road's bodies are moved from one track to the next instead of being replaced.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from Box2D import b2Body, b2FixtureDef, b2World
from gymnasium.envs.box2d.car_racing import (
    BORDER,
    BORDER_MIN_COUNT,
    SCALE,
    TRACK_DETAIL_STEP,
    TRACK_RAD,
    TRACK_TURN_RATE,
    TRACK_WIDTH,
)
from numpy.typing import NDArray

Point = tuple[float, float, float, float]  # angle around the centre, heading, x, y
Place = tuple[float, float, float]  # angle around the centre, x, y

CHECKPOINTS = 12
SECTOR = 2 * math.pi / CHECKPOINTS
START_ANGLE = -SECTOR / 2  # a lap begins where the track passes this angle
START_RADIUS = 1.5 * TRACK_RAD  # of the first and the last checkpoint
MOST_POINTS = 2500  # of an attempt that does not come around
LAPS = 5
SHADES = np.array([0.01 * step * 255 for step in range(3)])  # consecutive tiles differ in brightness
WHITE, RED = (255, 255, 255), (255, 0, 0)


def draw_checkpoints(rng: np.random.Generator) -> list[Place]:
    """Where the track should pass, with growing angles."""
    draws = rng.uniform((0, TRACK_RAD / 3), (SECTOR, TRACK_RAD), (CHECKPOINTS, 2)).tolist()
    polar = [(2 * math.pi * k / CHECKPOINTS + noise, radius) for k, (noise, radius) in enumerate(draws)]
    polar[0] = (0.0, START_RADIUS)
    polar[-1] = (2 * math.pi * (CHECKPOINTS - 1) / CHECKPOINTS, START_RADIUS)
    return [(angle, radius * math.cos(angle), radius * math.sin(angle)) for angle, radius in polar]


def drive(checkpoints: list[Place]) -> list[Point]:
    """Points of several laps in equal steps, turning towards one checkpoint after the other."""
    atan2, cos, sin, pi = math.atan2, math.cos, math.sin, math.pi
    x, y, heading = START_RADIUS, 0.0, 0.0
    target = laps = 0
    target_angle, target_x, target_y = checkpoints[target]
    behind = False  # whether the lower half of the plane was visited in this lap
    points: list[Point] = []
    while laps < LAPS and len(points) < MOST_POINTS:
        angle = atan2(y, x)
        if angle < 0:
            behind = True
            angle += 2 * pi
        elif behind and angle > 0:
            behind = False
            laps += 1
        while angle > target_angle:
            target += 1
            if target == CHECKPOINTS:
                target = 0
                angle -= 2 * pi
            target_angle, target_x, target_y = checkpoints[target]
        across_x, across_y = cos(heading), sin(heading)
        miss = (across_x * (target_x - x) + across_y * (target_y - y)) * SCALE
        while heading - angle > 1.5 * pi:
            heading -= 2 * pi
        while heading - angle < -1.5 * pi:
            heading += 2 * pi
        before = heading
        if miss > 0.3:
            heading -= min(TRACK_TURN_RATE, 0.001 * miss)
        elif miss < -0.3:
            heading += min(TRACK_TURN_RATE, -0.001 * miss)
        x -= across_y * TRACK_DETAIL_STEP
        y += across_x * TRACK_DETAIL_STEP
        points.append((angle, before * 0.5 + heading * 0.5, x, y))
    return points


def cut_lap(points: list[Point]) -> list[Point] | None:
    """The points between the last two passes of the start; None if there are none or the ends do not meet."""
    passes = []
    for k in range(len(points) - 1, 0, -1):
        if points[k - 1][0] <= START_ANGLE < points[k][0]:
            passes.append(k)
            if len(passes) == 2:
                break
    else:
        return None
    lap = points[passes[1] : passes[0] - 1]
    (_, heading, x, y), (_, _, last_x, last_y) = lap[0], lap[-1]
    gap_x, gap_y = math.cos(heading) * (x - last_x), math.sin(heading) * (y - last_y)
    return lap if math.sqrt(gap_x * gap_x + gap_y * gap_y) <= TRACK_DETAIL_STEP else None


def hard_turns(headings: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which tiles get a kerb: those of at least four consecutive sharp changes of heading to the same side."""
    turns = headings - np.roll(headings, 1)
    sharp = np.where(np.abs(turns) > TRACK_TURN_RATE * 0.2, np.sign(turns), 0)
    hard = np.abs(sum(np.roll(sharp, k) for k in range(BORDER_MIN_COUNT))) == BORDER_MIN_COUNT
    kerbs = hard.tolist()
    for k in range(len(kerbs)):  # in this order, for a kerb carried over the start is carried on
        if kerbs[k]:
            for back in range(1, BORDER_MIN_COUNT):
                kerbs[k - back] = True
    return np.array(kerbs)


class Road(NamedTuple):
    """The polygons of a lap in drawing order: each tile is followed by its kerb, if it has one."""

    corners: NDArray[np.float64]  # (N, 4, 2)
    colors: NDArray[np.float64]  # (N, 3)
    tiles: NDArray[np.intp]  # which of them are tiles


def pave(lap: list[Point], color: Any) -> Road:
    """A road along a lap."""
    _, headings, *middle = np.array(lap).T
    # NumPy's own sines may differ in the last bit
    normals = np.array([(math.cos(point[1]), math.sin(point[1])) for point in lap])
    places = np.stack(middle, axis=1)

    def aside(back: int, distance: Any) -> NDArray[np.float64]:
        return np.roll(places, back, axis=0) + distance * np.roll(normals, back, axis=0)

    def strip(left: Any, right: Any) -> NDArray[np.float64]:
        return np.stack((aside(0, left), aside(0, right), aside(1, right), aside(1, left)), axis=1)

    order = np.arange(len(lap))
    kerbs = np.flatnonzero(hard_turns(headings))
    side = np.sign(np.roll(headings, 1) - headings)[:, None]
    tiles = strip(-TRACK_WIDTH, TRACK_WIDTH)
    borders = strip(side * TRACK_WIDTH, side * (TRACK_WIDTH + BORDER))[kerbs]
    tile_colors = np.asarray(color) + SHADES[order % 3, None]
    kerb_colors = np.where(kerbs[:, None] % 2 == 0, WHITE, RED)
    return Road(
        np.insert(tiles, kerbs + 1, borders, axis=0),
        np.insert(tile_colors, kerbs + 1, kerb_colors, axis=0),
        order + np.searchsorted(kerbs, order),
    )


class Tiles:
    """The bodies of the road, kept from track to track."""

    def __init__(self, world: b2World, definition: b2FixtureDef) -> None:
        self.world, self.definition = world, definition
        definition.isSensor = True
        self.bodies: list[b2Body] = []
        self.shapes: list[Any] = []

    def lay(self, road: Road) -> list[b2Body]:
        """Put one body under each tile of a road; nothing may touch the old ones."""
        corners = road.corners[road.tiles].tolist()
        for _ in range(len(corners) - len(self.bodies)):
            self._add()
        while len(self.bodies) > len(corners):
            self.shapes.pop()
            self.world.DestroyBody(self.bodies.pop())
        for body, shape, vertices, row in zip(self.bodies, self.shapes, corners, road.tiles.tolist(), strict=True):
            shape.vertices = vertices
            body.transform = (0, 0), 0  # tells the world that the shape has moved
            body.color = road.colors[row]
            body.road_visited = False
        return self.bodies

    def _add(self) -> None:
        body = self.world.CreateStaticBody(fixtures=self.definition)
        body.userData = body
        body.road_friction = 1.0
        body.idx = len(self.bodies)
        self.bodies.append(body)
        self.shapes.append(body.fixtures[0].shape)
