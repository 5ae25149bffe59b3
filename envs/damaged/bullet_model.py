"""The ant of PyBullet with limbs shortened or removed, made from the model file that pybullet_data ships."""

import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from envs.damage import Structure
from envs.damaged import robots

ANATOMY = robots.ant_anatomy("AntBullet", ("torso", "contacts"))
# The file calls its geoms and joints as Gymnasium's ant does, and numbers its legs alike.
GEOMS = robots.ANT.geoms
JOINTS = robots.ANT.joints


@contextmanager
def model_file(shipped: Path, structure: Structure) -> Iterator[Path]:
    """A file with the changed model, deleted when the block is left.

    :param shipped: the intact ant.xml
    """
    if not structure:
        yield shipped
        return
    tree = ET.parse(shipped)
    for fault in structure:
        for name in GEOMS[fault.part]:
            body = tree.find(f".//body/geom[@name='{name}']/..")
            geom = tree.find(f".//geom[@name='{name}']")
            assert body is not None
            assert geom is not None
            if fault.kind == "remove":
                # A body without geoms has no mass, no shape and no contacts, but keeps its joints: Bullet leaves them
                # where they are, so the robot moves as if they were gone.
                body.remove(geom)
            else:
                assert fault.value is not None
                _shorten(body, geom, fault.value)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ant.xml"
        tree.write(path)
        yield path


def _shorten(body: ET.Element, geom: ET.Element, factor: float) -> None:
    """Bring the far end of a segment nearer to its joint, and with it the limb that hangs there."""
    near, far = _numbers(geom, "fromto").reshape(2, 3)
    end = near + factor * (far - near)
    geom.set("fromto", _text([*near, *end]))
    for child in body.findall("body"):
        child.set("pos", _text(_numbers(child, "pos") + end - far))


def _numbers(element: ET.Element, name: str) -> np.ndarray:
    return np.array(element.attrib[name].split(), dtype=float)


def _text(values: Iterable[float]) -> str:
    return " ".join(f"{value:.17g}" for value in values)
