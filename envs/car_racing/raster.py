"""Drawing the CarRacing state: the same picture as Gymnasium's, without a Python call per polygon of the track.

Gymnasium rotates, scales and tests some 700 polygons one at a time in every frame. Here the whole track is one array that
is moved and culled at once, and only what is seen is handed to pygame. Two painters share this: `ExactPainter` repeats
Gymnasium's drawing on its 1000x800 window, `FastPainter` draws the scene 2.5 times as wide as the observation.

A window is drawn with y upwards and turned over at the end; its first `BAR` rows lie under the indicators.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import pygame
from gymnasium.envs.box2d.car_dynamics import (
    HULL_POLY1,
    HULL_POLY2,
    HULL_POLY3,
    HULL_POLY4,
    SIZE,
    WHEEL_COLOR,
    WHEEL_R,
    WHEEL_W,
    WHEEL_WHITE,
    WHEELPOS,
    Car,
)
from gymnasium.envs.box2d.car_racing import GRASS_DIM, PLAYFIELD, SCALE, WINDOW_H, WINDOW_W, ZOOM, CarRacing
from numpy.typing import NDArray
from pygame import gfxdraw

from envs.car_racing.track import Road

Color = tuple[int, int, int]
Corners = list[tuple[float, float]]
Quads = NDArray[np.float64]  # (2, 4, N): x and y of the four corners of N quadrilaterals

BAR = WINDOW_H // 8  # height of the black bar with the indicators
SIGHT = float(np.hypot(WINDOW_W / 2, 0.75 * WINDOW_H))  # from the car to the farthest corner of the window, in pixels
BLACK = (0, 0, 0)
HULL_COLOR = (204, 0, 0)
FONT_SIZE = 42
EDGE = 2  # pixels that an antialiased outline may reach beyond its polygon
OVERSAMPLING = 2.5  # canvas width of FastPainter over observation width


class Camera(NamedTuple):
    """Maps a point p of the world (metres) to the window: zoom * R(angle) p + shift (pixels)."""

    zoom: float
    angle: float
    cos: float
    sin: float
    shift: tuple[float, float]

    def scaled(self, factor: float) -> "Camera":
        """The same view on a window `factor` times as large."""
        return self._replace(zoom=self.zoom * factor, shift=(self.shift[0] * factor, self.shift[1] * factor))

    def project(self, quads: Quads) -> Quads:
        """Window coordinates of world coordinates, rounded exactly as one pygame vector at a time would be."""
        x, y = quads
        return np.stack(
            (
                (self.cos * x - self.sin * y) * self.zoom + self.shift[0],
                (self.sin * x + self.cos * y) * self.zoom + self.shift[1],
            )
        )


def car_of(env: CarRacing) -> Car:
    """The car of an environment that was reset."""
    assert env.car is not None
    return env.car


def follow(env: CarRacing) -> Camera:
    """Camera behind the car: it turns with the hull and zooms in during the first second."""
    hull = car_of(env).hull
    angle = -hull.angle
    zoom = 0.1 * SCALE * max(1 - env.t, 0) + ZOOM * SCALE * min(env.t, 1)
    # pygame snaps near-right angles, so cosine and sine are taken from its own rotation
    cos, sin = pygame.math.Vector2(1, 0).rotate_rad(angle)
    x, y = hull.position
    turned = pygame.math.Vector2(-x * zoom, -y * zoom).rotate_rad(angle)
    return Camera(zoom, angle, cos, sin, (WINDOW_W / 2 + turned[0], WINDOW_H / 4 + turned[1]))


def as_quads(polygons: list[Any]) -> Quads:
    """(N, 4, 2) corners as the (2, 4, N) layout in which the corner axis is cheap to reduce."""
    return np.ascontiguousarray(np.array(polygons, np.float64).transpose(2, 1, 0))


def grass_squares() -> Quads:
    """The 20x20 patches of lighter grass: every cell with even column and even row, corners in Gymnasium's order."""
    column, row = np.meshgrid(np.arange(-20, 20, 2), np.arange(-20, 20, 2), indexing="ij")
    left, low = GRASS_DIM * column.ravel(), GRASS_DIM * row.ravel()
    right, high = left + GRASS_DIM, low + GRASS_DIM
    return np.array([[right, left, left, right], [low, low, high, high]])


FIELD = as_quads([[(PLAYFIELD, PLAYFIELD), (PLAYFIELD, -PLAYFIELD), (-PLAYFIELD, -PLAYFIELD), (-PLAYFIELD, PLAYFIELD)]])


def whole(color: Any) -> Color:
    """A colour as pygame takes it: fractions are dropped."""
    red, green, blue = color
    return int(red), int(green), int(blue)


def fills_window(env: CarRacing, zoom: float) -> bool:
    """Whether the field surely covers the window, so that one fill paints the ground."""
    x, y = car_of(env).hull.position
    return max(abs(x), abs(y)) + SIGHT / zoom < PLAYFIELD


def to_array(surface: pygame.Surface) -> NDArray[np.uint8]:
    """(H, W, 3) copy of a surface."""
    width, height = surface.get_size()
    return np.frombuffer(bytearray(pygame.image.tobytes(surface, "RGB")), np.uint8).reshape(height, width, 3)


def fill(surface: pygame.Surface, first_row: int, color: Color) -> None:
    """Fill the rows from `first_row` on. pygame's own fill writes around the processor's cache, and drawing on top of it
    is then twice as slow."""
    pygame.surfarray.pixels2d(surface)[:, first_row:] = surface.map_rgb(color)


def turn_over(window: pygame.Surface, upright: pygame.Surface) -> None:
    """Copy the scene upside down into a kept surface, which spares a new 3 MB surface per frame."""
    scene = pygame.surfarray.pixels2d(window)[:, BAR:]
    pygame.surfarray.pixels2d(upright)[:, : WINDOW_H - BAR] = scene[:, ::-1]


@lru_cache(maxsize=4096)
def score_picture(text: str) -> pygame.Surface:
    """The return as it is shown, about 5 kB. No font is kept: it would not survive the `pygame.quit` of a closed window."""
    pygame.font.init()
    font = pygame.font.Font(pygame.font.get_default_font(), FONT_SIZE)
    return font.render(text, True, (255, 255, 255), BLACK)


def draw_bar(env: CarRacing, window: pygame.Surface) -> None:
    """Indicators and return at the bottom of a full-sized window."""
    env.surf = window  # type: ignore[assignment]  # where Gymnasium's method draws
    env._render_indicators(WINDOW_W, WINDOW_H)
    score = score_picture(f"{env.reward:04.0f}")
    window.blit(score, score.get_rect(center=(60, WINDOW_H - BAR / 2)))


def in_tuples(array: NDArray[Any], *sizes: int) -> Iterator[Any]:
    """Nested tuples of an array's numbers, the innermost size first. They are made one after the other: hundreds of lists at
    once would start the garbage collector in every frame."""
    items: Iterator[Any] = iter(array.ravel().tolist())
    for size in sizes:
        items = zip(*[items] * size, strict=True)
    return items


class Shapes:
    """Everything on the ground, in drawing order: grass patches, then the road with its kerbs."""

    def __init__(self) -> None:
        self.grass = grass_squares()
        self.quads = self.grass
        self.colors = np.zeros((self.grass.shape[2], 3))

    def load(self, road: Road, grass_color: Any) -> Road:
        """Take over a new road. It is returned with rows of this object's colours as its own: Gymnasium recolours a tile in
        place when it is touched, and thus recolours it here."""
        patches = self.grass.shape[2]
        self.quads = np.concatenate((self.grass, road.corners.transpose(2, 1, 0)), axis=2)
        self.colors = np.concatenate((np.tile(np.asarray(grass_color, np.float64), (patches, 1)), road.colors))
        return road._replace(colors=self.colors[patches:])

    def seen(self, camera: Camera, size: tuple[int, int], hidden: float) -> Iterator[tuple[Any, Any]]:
        """Corners and colour of each shape whose bounding box meets the window above its `hidden` first rows."""
        corners = camera.project(self.quads)
        low, high = corners.min(axis=1), corners.max(axis=1)
        across = (high[0] >= -EDGE) & (low[0] <= size[0] + EDGE)
        shown = np.flatnonzero(across & (high[1] >= hidden - EDGE) & (low[1] <= size[1] + EDGE))
        # pygame wants whole numbers; like Gymnasium, fractions of a colour are dropped
        return zip(in_tuples(corners[:, :, shown].T, 2, 4), in_tuples(self.colors[shown].astype(np.uint8), 3), strict=True)


def box(right: float, low: float, high: float) -> Corners:
    """An upright rectangle around the y axis."""
    return [(-right, low), (right, low), (right, high), (-right, high)]


HULL = [[(SIZE * x, SIZE * y) for x, y in corners] for corners in (HULL_POLY1, HULL_POLY2, HULL_POLY3, HULL_POLY4)]
HALF_TYRE = SIZE * WHEEL_W
TYRE_RADIUS = SIZE * WHEEL_R
TYRE = box(HALF_TYRE, -TYRE_RADIUS, TYRE_RADIUS)


def mark_on_tyre(phase: float) -> Corners | None:
    """The grey mark, 1.2 rad of the tyre's circumference, seen from above; None while it is below."""
    angles = (phase, phase + 1.2)
    if all(math.sin(angle) > 0 for angle in angles):
        return None
    back, front = (math.copysign(1, math.cos(angle)) if math.sin(angle) > 0 else math.cos(angle) for angle in angles)
    return box(HALF_TYRE, TYRE_RADIUS * back, TYRE_RADIUS * front)


def car_polygons(car: Car) -> Iterator[tuple[Corners, Color]]:
    """Corners relative to the hull in metres, and colours. The camera turns with the hull, so only wheels move."""
    for wheel, place in zip(car.wheels, WHEELPOS, strict=True):
        angle = wheel.joint.angle
        cos, sin, left, low = math.cos(angle), math.sin(angle), SIZE * place[0], SIZE * place[1]
        for corners, color in ((TYRE, WHEEL_COLOR), (mark_on_tyre(wheel.phase), WHEEL_WHITE)):
            if corners is not None:
                yield [(cos * x - sin * y + left, sin * x + cos * y + low) for x, y in corners], color
    for corners in HULL:
        yield corners, HULL_COLOR


class Painter(Protocol):
    """Draws the state of one environment."""

    shapes: Shapes

    def __init__(self, size: int) -> None: ...

    def paint(self, env: CarRacing) -> NDArray[np.uint8]:
        """The state as a (size, size, 3) picture."""


class ExactPainter:
    """Gymnasium's picture, pixel for pixel."""

    def __init__(self, size: int) -> None:
        self.window = pygame.Surface((WINDOW_W, WINDOW_H), 0, 32)
        self.upright = pygame.Surface((WINDOW_W, WINDOW_H), 0, 32)
        self.state = pygame.Surface((size, size), 0, 32)
        self.shapes = Shapes()

    def paint(self, env: CarRacing) -> NDArray[np.uint8]:
        camera = follow(env)
        inside = fills_window(env, camera.zoom)
        fill(self.window, BAR, whole(env.bg_color) if inside else BLACK)
        if not inside:
            self._polygon(camera.project(FIELD)[:, :, 0].T.tolist(), whole(env.bg_color))
        for polygon, color in self.shapes.seen(camera, self.window.get_size(), BAR):
            self._polygon(polygon, color)
        car_of(env).draw(self.window, camera.zoom, camera.shift, camera.angle, False)
        turn_over(self.window, self.upright)
        draw_bar(env, self.upright)
        pygame.transform.smoothscale(self.upright, self.state.get_size(), self.state)
        return to_array(self.state)

    def _polygon(self, polygon: list[Any], color: Color) -> None:
        gfxdraw.aapolygon(self.window, polygon, color)
        gfxdraw.filled_polygon(self.window, polygon, color)


class FastPainter:
    """The same picture drawn small: the scene on a canvas 2.5 times as wide as the observation, then averaged down."""

    def __init__(self, size: int) -> None:
        bar_rows = round(size * BAR / WINDOW_H)
        self.scale = OVERSAMPLING * size / WINDOW_W
        self.canvas = pygame.Surface((round(WINDOW_W * self.scale), round((WINDOW_H - BAR) * self.scale)), 0, 32)
        self.window = pygame.Surface((WINDOW_W, WINDOW_H), 0, 32)  # only its bar is drawn
        self.bar = self.window.subsurface((0, WINDOW_H - BAR, WINDOW_W, BAR))
        self.state = pygame.Surface((size, size), 0, 32)
        self.state_scene = pygame.Surface((size, size - bar_rows), 0, 32)
        self.state_bar = self.state.subsurface((0, size - bar_rows, size, bar_rows))
        self.shapes = Shapes()

    def paint(self, env: CarRacing) -> NDArray[np.uint8]:
        full = follow(env)
        # the canvas begins above the bar
        camera = full._replace(shift=(full.shift[0], full.shift[1] - BAR)).scaled(self.scale)
        inside = fills_window(env, full.zoom)
        fill(self.canvas, 0, whole(env.bg_color) if inside else BLACK)
        if not inside:
            pygame.draw.polygon(self.canvas, whole(env.bg_color), camera.project(FIELD)[:, :, 0].T.tolist())
        for polygon, color in self.shapes.seen(camera, self.canvas.get_size(), 0):
            pygame.draw.polygon(self.canvas, color, polygon)
        zoom, left, low = camera.zoom, self.scale * WINDOW_W / 2, self.scale * (WINDOW_H / 4 - BAR)
        for corners, color in car_polygons(car_of(env)):
            pygame.draw.polygon(self.canvas, color, [(zoom * x + left, zoom * y + low) for x, y in corners])
        pygame.transform.smoothscale(self.canvas, self.state_scene.get_size(), self.state_scene)
        self.state.blit(pygame.transform.flip(self.state_scene, False, True), (0, 0))
        draw_bar(env, self.window)
        pygame.transform.smoothscale(self.bar, self.state_bar.get_size(), self.state_bar)
        return to_array(self.state)


PAINTERS: dict[str, type[Painter]] = {"exact": ExactPainter, "fast": FastPainter}
