import pytest
import tyro

from trainers.config import ESConfig, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-2E3", -2000.0),
        ("1.5e2", 150.0),
        ("[0.2,1e-3]", [0.2, 1e-3]),
        ("12", 12),
        ("true", True),
        ("1e", "1e"),
        ("1e-4x", "1e-4x"),
        ("none", "none"),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, value: object) -> None:
    given = parse_yaml(text)
    assert given == value
    assert type(given) is type(value)


def test_options_of_the_command_line_keep_their_types() -> None:
    words = ["--policy-kwargs", "width:1e-3", "sizes:[8,4]", "bias:false", "name:tanh"]
    config = tyro.cli(ESConfig, args=words)
    assert config.policy_kwargs == {"width": 1e-3, "sizes": [8, 4], "bias": False, "name": "tanh"}
