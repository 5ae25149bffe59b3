"""Kinematics of a planar arm with two links, and its unique inverse.

phi = (phi0, phi1) are the joint angles in radians. The second link points along psi = phi0 + phi1 + pi/2, so that the
rest pose phi = (0, 0) has its elbow bent by a right angle. Links have lengths l = (l0, l1).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

LINKS = (0.5, 0.5)


def forward(phi: ArrayLike, links: Sequence[float] = LINKS) -> np.ndarray:
    """Tip (..., 2) of the arm: x = l0 cos phi0 + l1 cos psi, y = l0 sin phi0 + l1 sin psi.

    :param phi: joint angles (..., 2) in radians
    """
    phi = np.asarray(phi, np.float64)
    phi0 = phi[..., 0]
    psi = phi0 + phi[..., 1] + math.pi / 2
    tip = np.empty_like(phi)
    tip[..., 0] = links[0] * np.cos(phi0) + links[1] * np.cos(psi)
    tip[..., 1] = links[0] * np.sin(phi0) + links[1] * np.sin(psi)
    return tip


def inverse(tip: ArrayLike, links: Sequence[float] = LINKS, near: ArrayLike = 0.0) -> np.ndarray:
    """Joint angles (..., 2) that bring the tip to `tip`; of a point out of reach, those of a nearest point in reach.

    With |phi1| <= pi/2 the elbow angle e = phi1 + pi/2 lies in [0, pi], where the cosine has one inverse:
        e = arccos((r^2 - l0^2 - l1^2) / (2 l0 l1)),   phi0 = atan2(y, x) - atan2(l1 sin e, l0 + l1 cos e).
    Fully stretched (r = l0 + l1) and fully folded (r = |l0 - l1|) it is singular: small errors of the tip become large
    errors of the angles.

    :param tip: points (..., 2)
    :param near: angle phi0 (...) to which the result is wrapped, within pi
    """
    tip = np.asarray(tip, np.float64)
    x, y = tip[..., 0], tip[..., 1]
    cosine = (x * x + y * y - links[0] ** 2 - links[1] ** 2) / (2 * links[0] * links[1])
    elbow = np.arccos(np.clip(cosine, -1.0, 1.0))
    phi0 = np.arctan2(y, x) - np.arctan2(links[1] * np.sin(elbow), links[0] + links[1] * np.cos(elbow))
    turn = phi0 - np.asarray(near, np.float64)
    phi0 = phi0 - 2 * math.pi * np.round(turn / (2 * math.pi))
    return np.stack((phi0, elbow - math.pi / 2), axis=-1)
