"""Whether a window can open, and pictures can be drawn with OpenGL."""

import os
import sys


def check_display(render_mode: str | None) -> None:
    """RuntimeError for "human" without a screen, where MuJoCo and Bullet would end the whole process."""
    screen = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if render_mode == "human" and not screen:
        raise RuntimeError(
            "render_mode='human' needs a screen, but neither DISPLAY nor WAYLAND_DISPLAY is set; use render_mode='rgb_array'."
        )


def no_opengl(error: Exception) -> RuntimeError:
    """What to tell when MuJoCo could not draw."""
    return RuntimeError(
        f"MuJoCo could not draw with OpenGL here ({type(error).__name__}: {error}). Set the environment variable MUJOCO_GL to "
        "'egl' (GPU) or 'osmesa' (needs libosmesa) before Python starts, or make the environment with renderer='software'."
    )
