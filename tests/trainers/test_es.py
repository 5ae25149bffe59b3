import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainers import checkpoint
from trainers.es import ES

TINY = {"policy_kwargs": {"hidden_sizes": [4]}, "eval_episodes": 2, "n_envs": 2, "seed": 3}


@pytest.mark.parametrize("strategy", ["SNES", "SimpleGA"])
def test_a_strategy_of_evosax_goes_on_exactly_after_loading(strategy: str, tmp_path) -> None:
    pytest.importorskip("evosax")

    def build() -> ES:
        return ES("MlpPolicy", "CartPole-v1", population_size=6, strategy=strategy, sigma="lin_0.5", **TINY)

    whole, half = build().learn(generations=3), build().learn(generations=2)
    half.save(tmp_path / "half")
    loaded = ES.load(tmp_path / "half", "CartPole-v1", n_envs=3).learn(generations=3, reset_num_timesteps=False)
    whole.save(tmp_path / "whole")
    loaded.save(tmp_path / "loaded")
    a, b = checkpoint.load(tmp_path / "whole.zip")[0], checkpoint.load(tmp_path / "loaded.zip")[0]
    assert a.keys() == b.keys()
    for name in a.keys() - {"history/time/seconds", "history/time/fps"}:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_wrong_strategies_are_refused() -> None:
    with pytest.raises(ValueError, match=r"strategy_kwargs=.* are options of evosax's strategies"):
        ES("MlpPolicy", "CartPole-v1", strategy_kwargs={"std_init": 1.0})


def test_parameters_in_half_precision_are_played_saved_and_deployed_so(tmp_path) -> None:
    kwargs = TINY | {"population_size": 6, "sigma": 0.1}
    half = ES("HebbianPolicy", "CartPole-v1", precision="float16", **kwargs).learn(generations=2)
    full = ES("HebbianPolicy", "CartPole-v1", **kwargs).learn(generations=1)
    for a, b in zip(jax.tree.leaves(half.policy.params), jax.tree.leaves(full.policy.params), strict=True):
        assert (a.dtype, b.dtype) == (jnp.float16, jnp.float32)
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(half.state.params))  # what evolves loses nothing
    half.save(tmp_path / "half")
    loaded = ES.load(tmp_path / "half")
    obs = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    for model in (half, loaded):
        model.policy.set_random_seed(0)
    np.testing.assert_array_equal(half.predict(obs)[0], loaded.predict(obs)[0])
    assert all(np.asarray(c).dtype == np.float32 for c in half.predict(obs)[1][:-1])
    with pytest.raises(ValueError, match="Unknown precision 'half'"):
        ES("HebbianPolicy", "CartPole-v1", precision="half", **kwargs)


UPDATE = """
from trainers import devices; devices.use_all_cores()
import jax; jax.config.update("jax_num_cpu_devices", {devices})
import jax.numpy as jnp
from trainers.strategies import EvolutionStrategy
from trainers.devices import on_all_devices
strategy = EvolutionStrategy(90)
state = strategy.init(jax.random.key(0), {{"w": jnp.ones((7, 9))}})
state = state._replace(learning_rate=jnp.float32(0.1), sigma=jnp.float32(0.1))
fitness = jnp.arange(90.0) ** 0.5
after, _ = jax.jit(strategy.update)(on_all_devices(state), jax.random.key(1), fitness)
print(jax.local_device_count(), after.opt_state.inner_state[0].mu["w"].ravel().tolist())
"""


def test_an_update_does_not_depend_on_the_number_of_devices() -> None:
    done = [
        subprocess.run([sys.executable, "-c", UPDATE.format(devices=n)], capture_output=True, text=True, check=True)
        for n in (2, 3)
    ]
    (two, a), (three, b) = (run.stdout.split(maxsplit=1) for run in done)
    assert (two, three) == ("2", "3")
    assert json.loads(a) == json.loads(b)
