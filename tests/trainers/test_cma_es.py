import numpy as np
import pytest

from trainers import checkpoint
from trainers.cma_es import CMAES

TINY = {"policy_kwargs": {"hidden_sizes": [4]}, "eval_episodes": 2, "n_envs": 2, "seed": 3}


@pytest.mark.parametrize("variant", ["full", "vkd"])
def test_a_loaded_model_goes_on_exactly(variant: str, tmp_path) -> None:
    kwargs = TINY | {
        "population_size": 6,
        "variant": variant,
        "restarts": 1,
        "patience": 2,
        "env_kwargs": {"max_episode_steps": 9},
    }
    whole = CMAES("MlpPolicy", "CartPole-v1", **kwargs).learn(generations=6)
    half = CMAES("MlpPolicy", "CartPole-v1", **kwargs).learn(generations=4)
    assert whole.history[-1]["es/restart"] == 1
    half.save(tmp_path / "half")
    loaded = CMAES.load(tmp_path / "half", "CartPole-v1", n_envs=3).learn(generations=6, reset_num_timesteps=False)
    whole.save(tmp_path / "whole")
    loaded.save(tmp_path / "loaded")
    a, b = checkpoint.load(tmp_path / "whole.zip")[0], checkpoint.load(tmp_path / "loaded.zip")[0]
    assert a.keys() == b.keys()
    for name in a.keys() - {"history/time/seconds", "history/time/fps"}:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_it_learns_to_balance_with_what_it_picked_itself(tmp_path, capsys) -> None:
    model = CMAES("MlpPolicy", "CartPole-v1", **TINY)
    assert "CMA-ES of 30 parameters, 14 members: variant 'full'; it needs about" in capsys.readouterr().out
    model.learn(generations=6)
    returns = [row["rollout/ep_rew_mean"] for row in model.history]
    assert returns[-1] > 2 * returns[0]
    model.save(tmp_path / "m")
    loaded = CMAES.load(tmp_path / "m")
    assert (loaded.strategy.variant, loaded.strategy.population_size) == ("full", 14)
    assert capsys.readouterr().out == ""


def test_boolean_synapses_are_refused() -> None:
    with pytest.raises(ValueError, match=r"CMA-ES needs real-valued weights; RSNNPolicy has boolean synapses\. Use EC"):
        CMAES("RSNNPolicy", "CartPole-v1")
    with pytest.raises(ValueError, match=r"Unknown variant 'seperable'\. Did you mean 'sep'"):
        CMAES("MlpPolicy", "CartPole-v1", variant="seperable")
