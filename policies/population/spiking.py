"""What the recurrent spiking population networks share."""

import jax
import jax.numpy as jnp

from policies.equations.neurons import CurrentLIF


def heaviside(x: jax.Array) -> jax.Array:
    """1.0 where x > 0, else 0.0, in the dtype of x."""
    return (x > 0).astype(x.dtype)


def substeps(sim_time: float, dt: float) -> int:
    """Substeps in one environment step; ValueError unless there is at least one."""
    if dt <= 0 or round(sim_time / dt) < 1:
        raise ValueError(f"sim_time={sim_time} ms and dt={dt} ms give no substep; dt must be positive and <= sim_time.")
    return round(sim_time / dt)


def initial_membrane(key: jax.Array, num_neurons: int, c: CurrentLIF, random: bool) -> jax.Array:
    """Membrane potentials (N,) at the start of an episode: uniform in [v_rest, v_th), or all at rest."""
    if random:
        return jax.random.uniform(key, (num_neurons,), jnp.float32, c.v_rest, c.v_th)
    return jnp.full(num_neurons, c.v_rest, jnp.float32)
