import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.robot_arm import forward, inverse

lengths = st.tuples(st.floats(0.1, 2.0), st.floats(0.1, 2.0))
angles = st.floats(-math.pi / 2, math.pi / 2)


def test_poses_known_by_hand() -> None:
    np.testing.assert_allclose(forward((0.0, 0.0)), (0.5, 0.5))
    np.testing.assert_allclose(forward((0.0, -math.pi / 2)), (1.0, 0.0), atol=1e-15)
    np.testing.assert_allclose(forward((math.pi / 2, math.pi / 2), (2.0, 0.5)), (0.0, 1.5), atol=1e-15)


@given(links=lengths, phi=st.tuples(angles, angles))
def test_forward_adds_two_rotated_links(links: tuple[float, float], phi: tuple[float, float]) -> None:
    tip = links[0] * np.exp(1j * phi[0]) + links[1] * np.exp(1j * (phi[0] + phi[1])) * 1j
    np.testing.assert_allclose(forward(phi, links), (tip.real, tip.imag), atol=1e-12)


@given(links=lengths, part=st.floats(0.0, 1.0), direction=st.floats(-math.pi, math.pi))
def test_inverse_reaches_every_point_in_reach(links: tuple[float, float], part: float, direction: float) -> None:
    radius = abs(links[0] - links[1]) + part * 2 * min(links)
    tip = radius * np.array((math.cos(direction), math.sin(direction)))
    np.testing.assert_allclose(forward(inverse(tip, links), links), tip, atol=1e-6)


@given(phi=st.tuples(angles, st.floats(-1.5, 1.5)))
def test_inverse_undoes_forward_within_the_joints_range(phi: tuple[float, float]) -> None:
    np.testing.assert_allclose(inverse(forward(phi), near=phi[0]), phi, atol=1e-7)


@given(near=st.floats(-20.0, 20.0), direction=st.floats(-math.pi, math.pi))
def test_inverse_is_wrapped_to_the_nearest_angle(near: float, direction: float) -> None:
    tip = 0.7 * np.array((math.cos(direction), math.sin(direction)))
    phi = inverse(tip, near=near)
    assert abs(phi[0] - near) <= math.pi + 1e-9
    np.testing.assert_allclose(forward(phi), tip, atol=1e-9)


def test_out_of_reach_points_give_the_nearest_point() -> None:
    np.testing.assert_allclose(forward(inverse((3.0, 4.0))), (0.6, 0.8), atol=1e-12)


@pytest.mark.parametrize("shape", [(2,), (3, 2), (4, 5, 2)])
def test_batches_are_treated_point_by_point(shape: tuple[int, ...]) -> None:
    phi = np.random.default_rng(0).uniform(-1.5, 1.5, shape)
    tips = forward(phi)
    assert tips.shape == shape
    np.testing.assert_allclose(inverse(tips), phi, atol=1e-9)
