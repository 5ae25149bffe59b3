import pytest

from trainers.make_env import find_env_id


@pytest.mark.parametrize("name", ["Ant", "ant", "BraxAnt", "braxant-v0", "BraxAnt-v0"])
def test_a_brax_task_has_several_names(name: str) -> None:
    assert find_env_id(name) == "BraxAnt-v0"


@pytest.mark.parametrize("name", ["Ant-v5", "CartPole-v1", "DamagedAnt-v0"])
def test_registered_ids_stand_for_themselves(name: str) -> None:
    assert find_env_id(name) == name


def test_the_nearest_name_is_told() -> None:
    with pytest.raises(ValueError, match="Did you mean 'Humanoid'"):
        find_env_id("Humaniod")
