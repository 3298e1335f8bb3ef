"""`--print-config`: every value, and where it comes from."""

from typing import Optional

import pytest

from ppdet_lite.cli.tool import config_from_args, config_parser
from ppdet_lite.core.show import describe_config
from ppdet_lite.core.workspace import load_config, register
from ppdet_lite.core.yaml import parse_yaml

BASE = """
num_classes: 2
ShownHead:
  sizes: [[1, 2], [3, 4]]
  steps: [!PiecewiseDecay {gamma: 0.1}]
"""
CONFIG = """
_BASE_: base.yml
epoch: 7
ShownHead:
  factor: 0.5
"""


@register
class ShownHead:
    """Parameters of every origin."""

    __shared__ = ("num_classes", "norm_type")

    def __init__(
        self,
        num_classes: int = 80,
        norm_type: str = "bn",
        factor: float = 1.0,
        sizes: Optional[list] = None,
        steps: Optional[list] = None,
        clip: bool = True,
        channels: tuple = (8, 16),
    ):
        self.num_classes = num_classes

    @classmethod
    def from_config(cls, section) -> dict:
        return {}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "base.yml").write_text(BASE)
    (tmp_path / "own.yml").write_text(CONFIG)
    return tmp_path / "own.yml"


def origins_by_line(text):
    """Stripped value -> origin of every printed line."""
    pairs = (line.split("  # ") for line in text.splitlines())
    return {value.strip(): origin for value, origin in pairs}


def test_every_value_is_printed_with_its_origin(path):
    text = describe_config(load_config(path, ["ShownHead.steps.0.gamma=0.2", "seed=3"]))
    base, own = path.parent / "base.yml", path
    expected = {
        "epoch: 7": f"{own}:3",
        "seed: 3": "-o seed=3",
        "log_iter: 20": "default",
        "ShownHead:": f"{base}:3",
        "factor: 0.5": f"{own}:5",
        "sizes:": f"{base}:4",
        "- [3, 4]": f"{base}:4",
        "- !PiecewiseDecay": f"{base}:5",
        "gamma: 0.2": "-o ShownHead.steps.0.gamma=0.2",
        "norm_type: bn": "default or derived",
        "clip: true": "default or derived",
        "channels: [8, 16]": "default or derived",
    }
    found = origins_by_line(text)
    assert {key: found.get(key) for key in expected} == expected


def test_shared_keys_are_shown_as_the_section_gets_them(path):
    lines = describe_config(load_config(path, ["num_classes=5"])).splitlines()
    shown = [line.split("#") for line in lines if "num_classes" in line]
    assert [(value.rstrip(), origin) for value, origin in shown] == [
        ("num_classes: 5", " -o num_classes=5"),
        ("  num_classes: 5", " -o num_classes=5"),
    ]


def test_what_is_printed_can_be_read_again(path):
    cfg = load_config(path, ["ShownHead.steps.0.gamma=0.2"])
    printed = parse_yaml(describe_config(cfg), "printed").value
    assert printed["ShownHead"]["steps"] == cfg["ShownHead"]["steps"]
    assert printed["ShownHead"]["sizes"] == cfg["ShownHead"]["sizes"]
    assert {key: printed[key] for key in cfg if key != "ShownHead"} == {
        key: value for key, value in cfg.items() if key != "ShownHead"
    }


def test_print_config_prints_and_stops(path, capsys):
    args = config_parser("").parse_args(["-c", str(path), "--print-config", "-o", "use_xpu=true"])
    with pytest.raises(SystemExit) as stop:
        config_from_args(args)
    assert stop.value.code == 0
    assert f"epoch: 7{' ' * 52}  # {path}:3" in capsys.readouterr().out
