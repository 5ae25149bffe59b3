"""Which room may import what: each is imported in a process of its own and `sys.modules` is read."""

import subprocess
import sys

import pytest

SIMULATORS = {"mujoco", "pybullet", "brax", "matplotlib", "ray", "Box2D", "jax", "torch"}
RULES = [
    ("envs", SIMULATORS),
    ("envs.continual.scenarios", SIMULATORS),
    ("policies", {"jax", "brax", "mujoco"}),
    ("policies.equations.neurons", {"jax", "torch", "numpy"}),
    ("policies.bridge", {"trainers", "brax", "mujoco"}),
    ("policies.population", {"torch", "brax", "stable_baselines3", "gymnasium"}),
    ("trainers.strategies", {"torch", "brax", "stable_baselines3"}),
    ("envs.brax.tasks", {"torch", "stable_baselines3", "matplotlib", "policies", "trainers"}),
    ("trainers.config", {"brax", "mujoco", "matplotlib"}),
]


@pytest.mark.parametrize(("room", "forbidden"), RULES, ids=[room for room, _ in RULES])
def test_room_imports_only_what_it_may(room: str, forbidden: set[str]) -> None:
    code = "import importlib.util, sys, types\n"
    if room != "policies" and "policies" not in forbidden:
        # `import policies` registers torch policies, and runs before any of its subpackages: here it is left empty.
        code += (
            "sys.modules['policies'] = types.ModuleType('policies')\n"
            "search = importlib.util.find_spec('envs').submodule_search_locations[0]\n"
            "sys.modules['policies'].__path__ = [search.removesuffix('envs') + 'policies']\n"
        )
    code += f"import {room}\nprint(sorted({forbidden!r} & {{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_making_a_brax_environment_prints_and_warns_nothing() -> None:
    code = "import gymnasium, envs; e = gymnasium.make('BraxReacher-v0'); e.reset(seed=0)"
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == ""


def test_equations_use_operators_only() -> None:
    import ast
    from pathlib import Path

    import policies.equations

    allowed = {"math", "collections.abc", "dataclasses", "typing"}
    for path in Path(policies.equations.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= allowed, path
            if isinstance(node, ast.ImportFrom):
                assert node.module in allowed, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert isinstance(node.func.value, ast.Name), path
                assert node.func.value.id == "math", f"{path}: {ast.unparse(node)}"


def test_importing_policies_prints_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", "import policies"], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == ""
