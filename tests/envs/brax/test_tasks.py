import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.brax.imports import import_v1, import_v2
from envs.brax.tasks import PHYSICS, available_physics, find_task, make_task
from envs.brax.vec_env import BraxVecEnv


@pytest.mark.parametrize(
    ("name", "obs", "act", "dt"),
    [
        ("humanoid", 240, 17, 0.015),
        ("hopper", 11, 3, 0.008),
        ("walker2d", 17, 6, 0.008),
        ("ant", 87, 8, 0.05),
        ("halfcheetah", 18, 6, 0.05),
    ],
)
def test_sizes_of_the_published_tasks(name: str, obs: int, act: int, dt: float) -> None:
    task = make_task(name)
    assert (task.observation_size, task.action_size) == (obs, act)
    assert task.dt == pytest.approx(dt, rel=1e-6)


@pytest.mark.parametrize("physics", ["v1", pytest.param("spring", marks=pytest.mark.slow)])
def test_a_trajectory_is_that_of_the_raw_environment(physics: str) -> None:
    task = make_task("hopper", physics)
    raw = import_v1().get_environment("hopper") if physics == "v1" else import_v2().get_environment("hopper", backend=physics)
    state, expected = task.jit_reset(jax.random.key(3)), jax.jit(raw.reset)(jax.random.key(3))
    raw_step = jax.jit(raw.step)
    for t in range(8):
        action = jnp.sin(jnp.arange(3.0) + t)
        state, expected = task.jit_step(state, action), raw_step(expected, action)
        np.testing.assert_allclose(state.obs, expected.obs, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(state.reward, expected.reward, rtol=1e-4, atol=1e-4)
        assert bool(state.terminated) == bool(expected.done)


def test_actions_are_clipped() -> None:
    task = make_task("reacher")
    state = task.jit_reset(jax.random.key(0))
    far = task.jit_step(state, jnp.array([5.0, -7.0]))
    near = task.jit_step(state, jnp.array([1.0, -1.0]))
    np.testing.assert_array_equal(far.obs, near.obs)


def test_states_keep_their_types_under_scan_and_vmap() -> None:
    task = make_task("reacher")
    states = jax.vmap(task.reset)(jax.random.split(jax.random.key(0), 3))

    def step(s, _):
        return jax.vmap(task.step)(s, jnp.zeros((3, 2))), s.reward

    last, rewards = jax.jit(lambda s: jax.lax.scan(step, s, length=4))(states)
    assert last.terminated.dtype == bool
    assert rewards.shape == (4, 3)


def test_diverged_physics_terminates_with_an_invalid_reward() -> None:
    task = make_task("hopper")
    state = task.jit_reset(jax.random.key(0))
    broken = state.physics.replace(qp=state.physics.qp.replace(vel=jnp.full_like(state.physics.qp.vel, jnp.nan)))
    after = task.jit_step(state._replace(physics=broken), jnp.zeros(3))
    assert bool(after.terminated)
    assert np.isnan(after.reward)
    np.testing.assert_array_equal(after.obs, 0.0)


@pytest.mark.parametrize("name", ["hopper", "halfcheetah", "ant"])
def test_progress_is_how_far_the_robot_gets(name: str) -> None:
    full, progress = make_task(name), make_task(name, reward="progress")
    state, other = progress.jit_reset(jax.random.key(0)), full.jit_reset(jax.random.key(0))
    for t in range(5):
        x = float(state.physics.qp.pos[0, 0])
        action = jnp.sin(jnp.arange(float(progress.action_size)) + t)
        state, other = progress.jit_step(state, action), full.jit_step(other, action)
        assert float(state.reward) == pytest.approx((float(state.physics.qp.pos[0, 0]) - x) / progress.dt, rel=1e-3, abs=1e-4)
        np.testing.assert_array_equal(state.obs, other.obs)
    assert float(state.reward) != pytest.approx(float(other.reward))


def test_progress_is_an_option_of_every_environment_and_survives_damage() -> None:
    rewards = []
    for damage in (None, "none"):
        env = gymnasium.make("BraxAnt-v0", reward="progress", damage=damage)
        vec = BraxVecEnv("ant", 1, seed=0, reward="progress", damage=damage)
        env.reset(seed=0)
        vec.reset()
        action = env.action_space.low
        _, reward, _, _, info = env.step(action)
        assert reward == pytest.approx(info["x_velocity"])
        rewards += [reward, vec.step(action[None])[1][0]]
    np.testing.assert_allclose(rewards, rewards[0], rtol=1e-4)


def test_names_and_errors() -> None:
    assert find_task("BraxHumanoid-v0") == find_task("Humanoid") == find_task("humanoid") == "humanoid"
    assert find_task("CartPole-v1") is None
    assert make_task("Hopper") is make_task("hopper")
    assert available_physics("hopper") == PHYSICS
    with pytest.raises(ValueError, match="Did you mean 'Humanoid'"):
        make_task("Humaniod")
    with pytest.raises(ValueError, match="Did you mean 'generalized'"):
        make_task("hopper", "generalised")
    with pytest.raises(ValueError, match="no Swimmer with physics='spring'"):
        make_task("swimmer", "spring")
    with pytest.raises(ValueError, match="at least 1"):
        make_task("hopper", "v1", 0)
    with pytest.raises(ValueError, match="Did you mean 'progress'"):
        make_task("hopper", reward="progres")
    with pytest.raises(ValueError, match="Reacher stays where it is"):
        make_task("reacher", reward="progress")
