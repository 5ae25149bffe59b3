"""A window for environments that draw their own frames."""

import gymnasium
import numpy as np


class Window:
    """A window that shows frames at their pace; pygame is imported when the first one opens."""

    def __init__(self, title: str) -> None:
        try:
            import pygame
        except ImportError as error:
            raise gymnasium.error.DependencyNotInstalled(
                'render_mode="human" needs pygame; install it with: pip install "spikegym[box2d]"'
            ) from error
        self.pygame = pygame
        pygame.display.init()
        pygame.display.set_caption(title)
        self.clock = pygame.time.Clock()

    def show(self, frame: np.ndarray, fps: float) -> None:
        """Show a frame (height, width, 3) once its time has come; the first one sets the size."""
        screen = self.pygame.display.get_surface() or self.pygame.display.set_mode(frame.shape[1::-1])
        self.pygame.event.pump()
        screen.blit(self.pygame.surfarray.make_surface(frame.swapaxes(0, 1)), (0, 0))
        self.pygame.display.flip()
        self.clock.tick(fps)

    def close(self) -> None:
        """Close the window."""
        self.pygame.display.quit()
