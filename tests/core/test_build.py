"""How registered classes are put together, and where their complaints come from."""

import pytest

from ppdet_lite.core.build import value_of
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.registry import get_class, registered
from ppdet_lite.core.workspace import Config, create, register

BASE = """
architecture: ToyDetector
ToyDetector: {backbone: ToyBackbone, neck: ToyNeck}
ToyBackbone: {depth: 18}
"""


def test_create_puts_the_parts_together(load):
    cfg = load(BASE + "width_mult: 0.5\nToyLoss: {weight: 3}\n")
    model = create(cfg.architecture, cfg)
    assert (model.backbone.depth, model.backbone.width_mult) == (18, 0.5)
    assert model.neck.in_channels == [64, 128]
    assert model.loss.weight == 3


def test_two_configs_do_not_influence_each_other(load):
    first = load(BASE)
    second = load(BASE, "ToyBackbone.depth=101", "width_mult=2.0")
    models = [create(cfg.architecture, cfg) for cfg in (first, second, first)]
    assert [m.backbone.depth for m in models] == [18, 101, 18]
    assert [m.backbone.width_mult for m in models] == [1.0, 2.0, 1.0]


@pytest.mark.parametrize(
    "loss",
    ["{name: ToyLoss, weight: 7}", "!ToyLoss {weight: 7}", "{ToyLoss: {weight: 7}}"],
)
def test_injected_parts_by_name_tag_or_mapping(load, loss):
    cfg = load(BASE, f"ToyDetector.loss={loss}", "ToyLoss.threshold=0.5")
    loss = create(cfg.architecture, cfg).loss
    assert (loss.weight, loss.threshold) == (7, 0.5)


def test_a_created_object_is_taken_as_it_is(load):
    loss = get_class("ToyLoss")(weight=9)
    assert create(get_class("ToyDetector"), load(BASE), loss=loss).loss is loss


def test_data_set_sections_name_their_class(load):
    for section in ("{name: ToyLoss, weight: 4}", "!ToyLoss {weight: 4}"):
        cfg = load(f"TrainDataset: {section}\n", "TrainDataset.threshold=0.1")
        made = create("TrainDataset", cfg)
        assert (made.weight, made.threshold) == (4, 0.1)


def test_value_of_knows_section_shared_key_and_default(load):
    cfg = load(BASE + "width_mult: 0.25\n")
    assert value_of(cfg, "ToyBackbone", "depth") == 18
    assert value_of(cfg, "ToyBackbone", "width_mult") == 0.25
    assert value_of(cfg, "ToyLoss", "weight") == 2.5
    with pytest.raises(ConfigError, match="'wight'; did you mean 'weight'"):
        value_of(cfg, "ToyLoss", "wight")


def test_classes_work_without_any_config():
    assert create("ToyLoss").weight == 2.5
    assert create(get_class("ToyLoss"), Config(), weight=4).weight == 4


@pytest.mark.parametrize(
    "text, override, place",
    [
        ("ToyLoss:\n  weight: -1\n", "seed=1", "c.yml:6: ToyLoss"),
        ("", "ToyLoss.weight=-1", "-o ToyLoss.weight=-1: ToyLoss"),
        (
            "",
            "ToyDetector.loss={name: ToyLoss, weight: -1}",
            "-o ToyDetector.loss={name: ToyLoss, weight: -1}: ToyDetector.loss",
        ),
        ("ToyLoss: {threshold: 0.5}\n", "ToyLoss.weight=-1", "-o ToyLoss.weight=-1: ToyLoss"),
        (
            "ToyLoss: {weight: -1}\n",
            "ToyDetector.loss={name: ToyLoss}",
            "c.yml:5: ToyDetector.loss",
        ),
    ],
)
def test_a_constructor_error_says_where_the_value_comes_from(load, text, override, place):
    cfg = load(BASE + text, override)
    with pytest.raises(ConfigError) as caught:
        create(cfg.architecture, cfg)
    (problem,) = caught.value.problems
    assert problem.rpartition("/")[2].startswith(f"{place}: weight: found -1")


def test_a_constructor_error_names_the_class_where_the_place_is_unknown(load):
    with pytest.raises(ConfigError, match=r"c\.yml: ToyLoss: weight: found -1"):
        create({"name": "ToyLoss", "weight": -1}, load(BASE))


def test_unknown_and_missing_arguments_at_creation(monkeypatch):
    with pytest.raises(ConfigError, match="config: ToyLoss: wait: unknown key"):
        create({"ToyLoss": {"wait": 1}}, Config())
    needy = type("Needy", (), {"__init__": lambda self, neck: None})
    with pytest.raises(ConfigError, match="neck: missing"):
        create(needy)
    with pytest.raises(TypeError, match="wait"):
        create("ToyLoss", wait=1)
    with pytest.raises(ConfigError, match="'ToyLos' is registered; did you mean 'ToyLoss'"):
        create("ToyLos")


def test_one_name_belongs_to_one_class():
    with pytest.raises(ConfigError, match="'ToyLoss'"):
        register(type("ToyLoss", (), {"__module__": "elsewhere"}))
    assert registered()["ToyLoss"]().weight == 2.5


def test_a_part_in_the_wrong_place_is_a_config_error(load):
    cfg = load(BASE, "ToyDetector.backbone=ToyNeck")
    with pytest.raises(ConfigError, match="ToyNeck: .* argument: 'input_shape'"):
        create(cfg.architecture, cfg)
