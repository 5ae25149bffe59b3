"""Whether a window can open."""

import os
import sys


def check_display(render_mode: str | None) -> None:
    """RuntimeError for "human" without a screen, where MuJoCo and Bullet would end the whole process."""
    screen = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if render_mode == "human" and not screen:
        raise RuntimeError(
            "render_mode='human' needs a screen, but neither DISPLAY nor WAYLAND_DISPLAY is set; use render_mode='rgb_array'."
        )
