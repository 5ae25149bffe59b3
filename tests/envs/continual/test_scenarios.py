import importlib.util
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from envs.brax.tasks import make_task
from envs.continual.scenarios import Scenario, Task, load_scenario, scenario_names

HAS_METAWORLD = importlib.util.find_spec("metaworld") is not None
CW10 = ("hammer", "push-wall", "faucet-close", "push-back", "stick-pull", "handle-press-side", "push", "shelf-place",
        "window-close", "peg-unplug-side")  # fmt: skip


def _names(scenario: Scenario) -> tuple[str, ...]:
    return tuple(task.name for task in scenario.tasks)


def test_the_published_sequences() -> None:
    assert len(scenario_names()) == 21
    sequences = {
        "halfcheetah/forgetting": 2 * ("hugefoot", "moon", "carry_stuff", "rainfall"),
        "halfcheetah/transfer": 2 * ("carry_stuff_hugegravity", "moon", "defective_module", "hugefoot_rainfall"),
        "halfcheetah/robustness": 4 * ("normal", "inverted_actions"),
        "halfcheetah/compositionality": 2 * ("tinyfoot", "moon", "carry_stuff_hugegravity", "tinyfoot_moon"),
        "ant/forgetting": 2 * ("normal", "hugefoot", "rainfall", "moon"),
        "ant/robustness": 4 * ("normal", "inverted_actions"),
        "humanoid/hard": ("normal", "moon", "carrystuff", "tinyfeet"),
        "continual_world/t6": ("stick-pull", "peg-unplug-side", "stick-pull"),
        "continual_world/cw10": CW10,
        "continual_world/cw20": 2 * CW10,
    }
    for name, sequence in sequences.items():
        scenario = load_scenario(name)
        assert _names(scenario) == sequence
        assert scenario.name == name
        assert scenario.n_timesteps == (2_000_000 if name == "humanoid/hard" else 1_000_000)
        world = name.startswith("continual_world")
        assert (scenario.metric, scenario.max_episode_steps) == (("success", 200) if world else ("return", 1000))
    assert load_scenario("ant/forgetting").tasks[1] == Task("hugefoot", "BraxAnt-v0", {"perturbation": "hugefoot"})


@pytest.mark.parametrize("name", scenario_names())
def test_every_task_can_be_made(name: str) -> None:
    for task in {task.name: task for task in load_scenario(name).tasks}.values():
        if task.env_id.startswith("Brax"):
            assert make_task(task.env_id, **task.env_kwargs).observation_size > 10
        elif task.env_id != "ContinualWorld-v0" or HAS_METAWORLD:
            gymnasium.make(task.env_id, **task.env_kwargs).close()


@pytest.mark.slow
@pytest.mark.parametrize("name", scenario_names())
def test_every_task_can_be_stepped(name: str) -> None:
    if name.startswith("continual_world"):
        pytest.importorskip("metaworld")
    scenario = load_scenario(name)
    for task in {task.name: task for task in scenario.tasks}.values():
        env = gymnasium.make(task.env_id, max_episode_steps=3, **task.env_kwargs)
        env.reset(seed=0)
        for k in range(3):
            obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
            assert np.isfinite(obs).all()
            assert np.isfinite(reward)
            assert truncated == (k == 2)
            if terminated:
                env.reset()
            assert scenario.metric == "return" or "success" in info
        env.close()


def test_overrides() -> None:
    scenario = load_scenario(
        "ant/transfer", physics="spring", fidelity="original", n_timesteps=10, max_episode_steps=5, repeat=1
    )
    assert (len(scenario.tasks), scenario.n_timesteps, scenario.max_episode_steps) == (4, 10, 5)
    expected = {"perturbation": "disabled_first_diagonal", "physics": "spring", "fidelity": "original"}
    assert scenario.tasks[0] == Task("disabled_first_diagonal", "BraxAnt-v0", expected)
    mujoco = load_scenario("humanoid/hard", physics="mujoco")
    assert {task.env_id for task in mujoco.tasks} == {"DamagedHumanoid-v0"}
    for task in mujoco.tasks:
        gymnasium.make(task.env_id, **task.env_kwargs).close()
    with pytest.raises(ValueError, match="Did you mean 'spring'"):
        load_scenario("ant/transfer", physics="sprin")
    with pytest.raises(ValueError, match="for Brax's robots only"):
        load_scenario("continual_world/t1", physics="mjx")
    with pytest.raises(ValueError, match="no task has a perturbation"):
        load_scenario("damaged_ant/limbs", fidelity="original")
    with pytest.raises(ValueError, match="Did you mean 'original'"):
        load_scenario("ant/transfer", fidelity="orginal")
    with pytest.raises(ValueError, match="repeat must be a whole number"):
        load_scenario("ant/transfer", repeat=0)
    with pytest.raises(ValueError, match="Did you mean 'ant/transfer'"):
        load_scenario("ant/transfr")


OWN = """
env: DamagedAnt-v0
env_kwargs: {horizon: 50}
tasks:
  - normal
  - gravity=0.5+friction=0.4
  - {name: broken, env_kwargs: {damage: front_left_leg, perturbation: moon}}
  - {name: other, env: DamagedHopper-v0, env_kwargs: {perturbation: {gravity: 2}}}
repeat: 2
n_timesteps: 1_000
max_episode_steps: 50
"""


def test_a_scenario_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "my_own.yml"
    path.write_text(OWN)
    scenario = load_scenario(str(path))
    assert (scenario.name, scenario.n_timesteps, scenario.metric) == ("my_own", 1000, "return")
    assert _names(scenario) == 2 * ("normal", "gravity=0.5+friction=0.4", "broken", "other")
    assert scenario.tasks[2].env_kwargs == {"horizon": 50, "damage": "front_left_leg", "perturbation": "moon"}
    for task in scenario.tasks[:4]:
        env = gymnasium.make(task.env_id, max_episode_steps=scenario.max_episode_steps, **task.env_kwargs)
        env.reset(seed=0)
        env.step(env.action_space.sample())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("env: DamagedAnt-v0\nenv_", "env_", "the key 'env' is missing"),
        ("n_timesteps", "n_timestep", "unknown key 'n_timestep'. Did you mean 'n_timesteps'"),
        ("1_000", "-3", "n_timesteps must be a whole number of at least 1, but is -3"),
        ("1_000", "many", "n_timesteps must be a whole number of at least 1, but is 'many'"),
        ("- normal", "- nromal", r"tasks\[0\]: Ant has no perturbation 'nromal'. Did you mean 'normal'"),
        ("- normal", "- [3]", r"tasks\[0\] must be a string, a number or a mapping, but is \[3\]"),
        ("name: broken", "nme: broken", r"tasks\[2\]: unknown key 'nme'. Did you mean 'name'"),
        ("{name: broken, ", "{", r"tasks\[2\]: the key 'name' is missing"),
        ("DamagedHopper-v0", "DamagedHoper-v0", r"tasks\[3\]: unknown environment 'DamagedHoper-v0'. Did you mean"),
        ("DamagedHopper-v0", "DamagedAntBullet-v0", r"tasks\[3\]: AntBullet cannot be perturbed"),
        ("repeat: 2", "metric: reward", "metric must be return or success, but is 'reward'"),
        ("repeat: 2", "- ]", "is not YAML"),
        ("{horizon: 50}", "50", "env_kwargs must be a mapping, but is 50"),
    ],
)
def test_errors_name_file_and_key(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    assert old in OWN
    path.write_text(OWN.replace(old, new))
    with pytest.raises(ValueError, match=message) as error:
        load_scenario(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_tasks_can_be_numbers(tmp_path: Path) -> None:
    path = tmp_path / "gravities.yml"
    path.write_text("{env: Pendulum-v1, argument: g, tasks: [10, 3.5]}")
    tasks = load_scenario(str(path)).tasks
    assert [(task.name, task.env_kwargs) for task in tasks] == [("10", {"g": 10}), ("3.5", {"g": 3.5})]


def test_not_a_mapping_and_not_there(tmp_path: Path) -> None:
    path = tmp_path / "own.yml"
    path.write_text("- a")
    with pytest.raises(ValueError, match="must be a mapping with the keys env and tasks"):
        load_scenario(str(path))
    with pytest.raises(FileNotFoundError):
        load_scenario(str(tmp_path / "none.yml"))
