import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.robot_arm import make_generator


def _by_loops(rng: np.random.Generator, horizon: int, duration: float, omega_bound: float) -> tuple[list, list]:
    """Velocities and tips of one movement of the preset "env", number by number."""
    draws = [[rng.random() for _ in range(5)] for _ in range(5)]
    p0, a0, th0, p1, th1 = draws
    w: list[list[float]] = [[], []]
    times = [2 * math.pi * k / (horizon - 1) for k in range(horizon)]
    waves = [[math.sin(t / (0.3 + 0.7 * p) + 2 * math.pi * th) for t in times] for p, th in zip(p1, th1, strict=True)]
    for k, t in enumerate(times):
        joint0 = (a * math.sin(t / (0.3 + 0.7 * p) + 2 * math.pi * th) for p, a, th in zip(p0, a0, th0, strict=True))
        w[0].append(30 * 0.5 / duration * sum(joint0))
        w[1].append(20 * 0.5 / duration * sum(s[k] / (max(s) - min(s)) for s in waves))
    phi: list[list[float]] = [[], []]
    for joint in (0, 1):
        total = 0.0
        for value in w[joint]:
            total += duration / horizon * value
            phi[joint].append(total)
        worst = max(abs(p) for p in phi[joint])
        factor = min(1.0, 0.9 * math.pi / 2 / worst, omega_bound / max(abs(v) for v in w[joint]))
        w[joint], phi[joint] = [factor * v for v in w[joint]], [factor * p for p in phi[joint]]
    tips = []
    for q0, q1 in zip(*phi, strict=True):
        psi = q0 + q1 + math.pi / 2
        tips.append((0.5 * (math.cos(q0) + math.cos(psi)), 0.5 * (math.sin(q0) + math.sin(psi))))
    return list(zip(*w, strict=True)), tips


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("horizon", "duration", "bound"), [(250, 5.0, 4.75), (40, 0.5, 20.0)])
def test_env_preset_against_loops(seed: int, horizon: int, duration: float, bound: float) -> None:
    omega, tips = _by_loops(np.random.default_rng(seed), horizon, duration, bound)
    made = make_generator(horizon=horizon, duration=duration, omega_bound=bound).sample(np.random.default_rng(seed))
    np.testing.assert_allclose(made.omega[0], omega, atol=1e-9)
    np.testing.assert_allclose(made.xy[0], tips, atol=1e-9)


def test_env_preset_numbers_of_seed_0() -> None:
    made = make_generator().sample(np.random.default_rng(0))
    expected = [(-2.062849, -1.079760), (-1.950417, -1.079135), (-1.834503, -1.076210)]
    np.testing.assert_allclose(made.omega[0, :3], expected, atol=1e-6)
    np.testing.assert_allclose(
        made.xy[0, [0, 1, -1]], [(0.530980, 0.478390), (0.559955, 0.456106), (0.587478, 0.230412)], atol=1e-6
    )


def test_published_preset_reproduces_the_published_data() -> None:
    made = make_generator("published").sample(np.random.RandomState(3000))
    assert made.xy.shape == (1, 30, 2)
    omega = [
        (-78.68723, -92.05042, -93.63549, -82.09107, -57.98010),
        (22.37413, 24.64933, 27.34440, 27.76879, 23.55524),
    ]
    xy = [(3.62891, 4.52474, 5.40461, 6.12451, 6.57993), (5.91403, 4.86869, 3.80486, 2.87189, 2.21287)]
    np.testing.assert_allclose(made.omega[0, :5].T, omega, atol=6e-6)
    np.testing.assert_allclose(made.xy[0, :5].T, xy, atol=6e-6)


def test_published_preset_statistics() -> None:
    made = make_generator("published").sample(np.random.RandomState(3000), 1000)
    np.testing.assert_allclose(made.omega.std(axis=(0, 1)), (68.02, 31.85), atol=0.005)
    np.testing.assert_allclose(made.omega.min(axis=(0, 1)), (-277.9, -98.5), atol=0.05)
    np.testing.assert_allclose(made.omega.max(axis=(0, 1)), (255.1, 98.1), atol=0.05)
    np.testing.assert_allclose(np.abs(made.phi).max(axis=(0, 1)), (0.0158, 0.0070), atol=5e-5)
    np.testing.assert_allclose(made.xy.min(axis=1), 1.0)
    np.testing.assert_allclose(made.xy.max(axis=1), 10.0)


def test_eprop_preset_uses_the_whole_range_of_the_joints() -> None:
    made = make_generator("eprop").sample(np.random.RandomState(3000), 100)
    assert made.xy.shape == (100, 500, 2)
    reached = np.isclose(np.abs(made.phi).max(axis=1), math.pi / 2)
    assert np.abs(made.phi).max() <= math.pi / 2 + 1e-12
    assert reached.any(axis=1).mean() > 0.9


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    horizon=st.integers(2, 400),
    duration=st.floats(0.01, 100.0),
    phi_max=st.floats(0.05, math.pi / 2),
    bound=st.floats(0.01, 50.0),
)
def test_bounds_hold_and_positions_follow_velocities(
    seed: int, horizon: int, duration: float, phi_max: float, bound: float
) -> None:
    generator = make_generator(horizon=horizon, duration=duration, phi_max=phi_max, omega_bound=bound)
    made = generator.sample(np.random.default_rng(seed), 3)
    assert np.isfinite(made.xy).all()
    assert np.abs(made.phi).max() <= phi_max * (1 + 1e-12)
    assert np.abs(made.omega).max() <= bound * (1 + 1e-12)
    np.testing.assert_allclose(np.diff(made.phi, axis=1) * horizon / duration, made.omega[:, 1:], atol=1e-8 * bound)


@pytest.mark.parametrize("preset", ["env", "eprop", "published"])
def test_a_batch_is_that_many_single_movements(preset: str) -> None:
    generator, rng = make_generator(preset), np.random.default_rng(1)
    single = [generator.sample(rng) for _ in range(4)]
    batch = generator.sample(np.random.default_rng(1), 4)
    for i, name in enumerate(("omega", "phi", "xy")):
        np.testing.assert_allclose(np.concatenate([s[i] for s in single]), getattr(batch, name), atol=1e-12)


def test_duration_changes_the_speed_and_not_the_path() -> None:
    slow, fast = (make_generator(duration=d, omega_bound=None).sample(np.random.default_rng(3)) for d in (5.0, 0.5))
    np.testing.assert_allclose(slow.xy, fast.xy, atol=1e-12)
    np.testing.assert_allclose(10 * slow.omega, fast.omega, atol=1e-9)


def test_a_constant_coordinate_is_stretched_to_the_low_end() -> None:
    made = make_generator("published", amp0=0.0, pp1=0.0).sample(np.random.default_rng(0))
    np.testing.assert_array_equal(made.xy, 1.0)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"Unknown preset 'epropp'\. Did you mean 'eprop'\?.*env, eprop, published"):
        make_generator("epropp")
    with pytest.raises(TypeError, match=r"Unknown generator key 'phimax'\. Did you mean 'phi_max'"):
        make_generator(phimax=1.0)


@pytest.mark.parametrize(
    "bad",
    [
        {"horizon": 1},
        {"horizon": 2.5},
        {"duration": 0.0},
        {"duration": math.nan},
        {"n_sines": 0},
        {"period_range": (1.0, 0.3)},
        {"period_range": (0.0, 1.0)},
        {"amp0": -1.0},
        {"pp1": math.inf},
        {"phi_max": 1.6},
        {"omega_bound": 0.0},
        {"link_lengths": (0.5,)},
        {"draws": ("P0", "A0")},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        make_generator(**bad)
