"""`python -m envs.gallery`: one picture of every environment, damaged variants beside standard ones."""

import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np

import envs  # noqa: F401


class Picture(NamedTuple):
    """An environment after some steps of random actions."""

    env_id: str
    kwargs: dict[str, Any]
    caption: str
    steps: int = 5


SOFTWARE = {"renderer": "software", "width": 480, "height": 384}
PICTURES: tuple[Picture, ...] = (
    Picture("DamagedAnt-v0", SOFTWARE, "DamagedAnt-v0"),
    Picture("DamagedAnt-v0", SOFTWARE | {"damage": "front_right_leg"}, 'damage="front_right_leg"'),
    Picture("DamagedAnt-v0", SOFTWARE | {"damage": "front_right_short"}, 'damage="front_right_short"'),
    Picture("DamagedHalfCheetah-v0", SOFTWARE | {"damage": "back_foot"}, 'DamagedHalfCheetah-v0\ndamage="back_foot"'),
    Picture("DamagedHopper-v0", SOFTWARE | {"damage": "shorten:leg=0.5"}, 'DamagedHopper-v0\ndamage="shorten:leg=0.5"', 0),
    Picture("DamagedWalker2d-v0", SOFTWARE | {"damage": "left_foot"}, 'DamagedWalker2d-v0\ndamage="left_foot"', 0),
    Picture("DamagedHumanoid-v0", SOFTWARE | {"damage": "right_lower_arm"}, 'DamagedHumanoid-v0\ndamage="right_lower_arm"', 0),
    Picture("DamagedAntBullet-v0", {}, "DamagedAntBullet-v0"),
    Picture("DamagedAntBullet-v0", {"damage": "front_right_short"}, 'DamagedAntBullet-v0\ndamage="front_right_short"'),
    Picture("DamagedAntBullet-v0", {"damage": "front_left_short"}, 'DamagedAntBullet-v0\ndamage="front_left_short"'),
    Picture("BraxAnt-v0", {}, "BraxAnt-v0"),
    Picture("BraxAnt-v0", {"damage": "front_right_leg"}, 'BraxAnt-v0\ndamage="front_right_leg"'),
    Picture("BraxAnt-v0", {"damage": "front_right_short"}, 'BraxAnt-v0\ndamage="front_right_short"'),
    Picture("BraxHumanoid-v0", {}, "BraxHumanoid-v0"),
    Picture("BraxWalker2d-v0", {}, "BraxWalker2d-v0"),
    Picture("BraxHopper-v0", {}, "BraxHopper-v0"),
    Picture("BraxHalfCheetah-v0", {}, "BraxHalfCheetah-v0"),
    Picture("BraxReacher-v0", {}, "BraxReacher-v0"),
    Picture("BraxSwimmer-v0", {}, "BraxSwimmer-v0"),
    Picture("RobotTrajectory-v0", {}, "RobotTrajectory-v0", 120),
    Picture("CarRacingEarlyStop-v0", {}, "CarRacingEarlyStop-v0", 60),
    Picture("CarRacingEarlyStop-v0", {"domain_randomize": True}, "domain_randomize=True", 60),
)


def frame(picture: Picture) -> np.ndarray:
    """The last of the environment's frames."""
    env = gymnasium.make(picture.env_id, render_mode="rgb_array", **picture.kwargs)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(picture.steps):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            break
    image = env.render()
    env.close()
    return np.asarray(image)


def main(path: str = "docs/gallery.png") -> None:
    """Write the contact sheet."""
    warnings.filterwarnings("ignore")
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    columns = 5
    rows = -(-len(PICTURES) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3 * columns, 2.9 * rows), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for axis, picture in zip(axes.flat, PICTURES, strict=False):
        axis.imshow(frame(picture))
        axis.set_title(picture.caption, fontsize=9)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(path).with_suffix(".partial.png")
    figure.savefig(temporary, dpi=80)
    temporary.replace(path)
    print(f"{path}: {len(PICTURES)} pictures")


if __name__ == "__main__":
    main(*sys.argv[1:])
