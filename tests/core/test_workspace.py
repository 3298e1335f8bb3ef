"""Registered classes, how they are put together, and the report of everything wrong in a config."""

from typing import Literal, Optional

import pytest

from ppdet_lite.core.build import value_of
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.registry import registered
from ppdet_lite.core.workspace import Config, create, load_config, register


@register
class ToyBackbone:
    __shared__ = ("width_mult",)
    __unused__ = ("legacy",)

    def __init__(self, depth: int = 50, width_mult: float = 1.0, idx: list[int] = (1, 2)):
        self.depth, self.width_mult, self.idx = depth, width_mult, idx
        self.channels = [64, 128]


@register
class ToyNeck:
    def __init__(self, in_channels: list[int] = (8,), act: Literal["mish", "relu"] = "mish"):
        self.in_channels, self.act = in_channels, act

    @classmethod
    def from_config(cls, section, input_shape):
        return {"in_channels": input_shape}


@register
class ToyLoss:
    def __init__(self, weight: float = 2.5, threshold: Optional[float] = None):
        if weight < 0:
            raise ConfigError(f"weight: found {weight}, allowed: 0 and more")
        self.weight, self.threshold = weight, threshold


@register
class ToyDetector:
    __inject__ = ("loss",)

    def __init__(self, backbone, neck, loss="ToyLoss"):
        self.backbone, self.neck, self.loss = backbone, neck, loss

    @classmethod
    def from_config(cls, section):
        backbone = create(section["backbone"], section.config)
        neck = create(section["neck"], section.config, input_shape=backbone.channels)
        return {"backbone": backbone, "neck": neck}


BASE = """
architecture: ToyDetector
ToyDetector: {backbone: ToyBackbone, neck: ToyNeck}
ToyBackbone: {depth: 18}
"""


@pytest.fixture
def load(tmp_path):
    def _load(text, *overrides):
        path = tmp_path / "c.yml"
        path.write_text(text)
        return load_config(path, overrides)

    return _load


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
    loss = ToyLoss(weight=9)
    assert create(ToyDetector, load(BASE), loss=loss).loss is loss


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
    with pytest.raises(
        ConfigError, match="ToyLoss has no parameter 'wight'; did you mean 'weight'"
    ):
        value_of(cfg, "ToyLoss", "wight")


def test_classes_work_without_any_config():
    assert create("ToyLoss").weight == 2.5
    assert create(ToyLoss, Config(), weight=4).weight == 4


def test_a_constructor_error_says_where_the_section_stands(load, tmp_path):
    cfg = load(BASE + "ToyLoss:\n  weight: -1\n")
    with pytest.raises(ConfigError) as caught:
        create(cfg.architecture, cfg)
    assert (
        str(caught.value) == f"{tmp_path}/c.yml:6: ToyLoss: weight: found -1, allowed: 0 and more"
    )


@pytest.mark.parametrize(
    "text, override, expected",
    [
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
            "{file}:5: ToyDetector.loss",
        ),
    ],
)
def test_a_constructor_error_says_where_the_value_comes_from(
    load, tmp_path, text, override, expected
):
    cfg = load(BASE + text, override)
    with pytest.raises(ConfigError) as caught:
        create(cfg.architecture, cfg)
    place = expected.replace("{file}", f"{tmp_path}/c.yml")
    assert str(caught.value) == f"{place}: weight: found -1, allowed: 0 and more"


def test_a_constructor_error_names_the_class_where_the_place_is_unknown(load, tmp_path):
    with pytest.raises(ConfigError) as caught:
        create({"name": "ToyLoss", "weight": -1}, load(BASE))
    assert str(caught.value) == f"{tmp_path}/c.yml: ToyLoss: weight: found -1, allowed: 0 and more"


def test_unknown_and_missing_arguments_at_creation():
    with pytest.raises(ConfigError, match=r"config: ToyLoss: wait: unknown key of ToyLoss"):
        create({"ToyLoss": {"wait": 1}}, Config())
    with pytest.raises(ConfigError, match=r"neck: missing; Needy has no default for it"):
        create(register(type("Needy", (), {"__init__": lambda self, neck: None})))
    del registered()["Needy"]
    with pytest.raises(TypeError, match="ToyLoss takes no argument wait"):
        create("ToyLoss", wait=1)
    with pytest.raises(
        ConfigError, match="no class 'ToyLos' is registered; did you mean 'ToyLoss'"
    ):
        create("ToyLos")


def test_one_name_belongs_to_one_class():
    with pytest.raises(ConfigError, match="two classes are registered as 'ToyLoss'"):
        register(type("ToyLoss", (), {"__module__": "elsewhere"}))


def test_all_problems_come_in_one_report(load, tmp_path):
    text = (
        BASE
        + "epok: 3\nuse_ema: 1\nToyNeck:\n  act: mich\n  in_chanels: [1]\n"
        + "ToyLos: {weight: 1}\nToyLoss: {weight: heavy, threshold: null}\nnum_classes: [3]\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(text, "ToyBackbone.depth=deep", "ToyDetector.loss=ToyLss", "nonsense")
    c = f"{tmp_path}/c.yml"
    allowed = "a registered class or a setting of ppdet_lite/core/settings.py"
    assert caught.value.problems == [
        "-o nonsense: found no KEY=VALUE, allowed: for instance TrainReader.batch_size=4",
        "-o ToyDetector.loss=ToyLss: ToyDetector.loss: found 'ToyLss', which is not a registered "
        "class; did you mean 'ToyLoss'?",
        "-o ToyBackbone.depth=deep: ToyBackbone.depth: found 'deep' (text), allowed: an integer",
        f"{c}:5: epok: unknown key; did you mean 'epoch'?; allowed: {allowed}",
        f"{c}:6: use_ema: found 1 (int), allowed: true or false",
        f"{c}:8: ToyNeck.act: found 'mich' (text), allowed: 'mish' or 'relu'",
        f"{c}:9: ToyNeck.in_chanels: unknown key of ToyNeck; did you mean 'in_channels'?; "
        "allowed: act, in_channels",
        f"{c}:10: ToyLos: unknown section; did you mean 'ToyLoss'?; allowed: {allowed}",
        f"{c}:11: ToyLoss.weight: found 'heavy' (text), allowed: a number",
        f"{c}:12: num_classes: found [3] (list), allowed: an integer",
    ]
    assert str(caught.value).startswith("10 problems in the configuration:\n  - -o nonsense")


def test_reader_lists_are_checked_inside(load, tmp_path):
    text = (
        "TrainReader:\n  sample_transforms:\n  - Decode: {}\n  - Mixop: {alpha: 1}\n"
        "  - Mixup: {alpa: 1}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert [p.split("; allowed")[0] for p in caught.value.problems] == [
        f"{tmp_path}/c.yml:4: TrainReader.sample_transforms.1.Mixop: found 'Mixop', which is not a "
        "registered class; did you mean 'Mixup'?",
        f"{tmp_path}/c.yml:5: TrainReader.sample_transforms.2.Mixup.alpa: unknown key of Mixup; "
        "did you mean 'alpha'?",
    ]


def test_keys_without_effect_are_accepted_and_listed(load):
    cfg = load(BASE + "use_xpu: false\nprint_flops: false\n", "ToyBackbone.legacy=1")
    assert cfg.unused == ["ToyBackbone.legacy", "use_xpu", "print_flops"]
    assert create("ToyBackbone", cfg).depth == 18


def test_custom_modules_register_classes(load, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from ppdet_lite.core.workspace import register\n\n\n@register\nclass MyOwnLoss:\n"
        "    def __init__(self, weight: float = 1.0):\n        self.weight = weight\n"
    )
    cfg = load("custom_modules: [mine.py]\nMyOwnLoss: {weight: 2.0}\n")
    assert create("MyOwnLoss", cfg).weight == 2.0
    with pytest.raises(ConfigError, match=r"custom_modules.0: found 'no.py', but there is no file"):
        load("custom_modules: no.py\n")
    with pytest.raises(ConfigError, match="found 'no.such', which cannot be imported"):
        load("custom_modules: [no.such]\n")
    (tmp_path / "half.py").write_text("x = (\n")
    with pytest.raises(ConfigError, match=r"cannot be imported: .*half.py, line 1"):
        load("custom_modules: half.py\n")


def test_runtime_defaults_are_filled_in(load):
    cfg = load("epoch: 3\n")
    assert (cfg.epoch, cfg.save_dir, cfg.use_ema, cfg.seed) == (3, "output", False, None)
    assert "num_classes" not in cfg


def test_values_out_of_range_are_reported_with_the_range(load):
    overrides = ["epoch=0", "ema_decay=1.5", "seed=-1", "metric=coco", "worker_num=-1"]
    with pytest.raises(ConfigError) as caught:
        load(BASE, *overrides)
    assert caught.value.problems == [
        "-o epoch=0: epoch: found 0, allowed: 1 or more",
        "-o ema_decay=1.5: ema_decay: found 1.5, allowed: 0 to 1",
        "-o seed=-1: seed: found -1, allowed: 0 or more",
        "-o metric=coco: metric: found 'coco' (text), allowed: 'COCO' or 'VOC'",
        "-o worker_num=-1: worker_num: found -1, allowed: 0 or more",
    ]
    assert load(BASE, "seed=null", "ema_decay=1", "worker_num=0").seed is None


def test_an_unknown_architecture_is_named_with_its_key(load):
    with pytest.raises(ConfigError, match="architecture: found 'ToyDetectr', which is not a regis"):
        load(BASE, "architecture=ToyDetectr")


def test_a_part_in_the_wrong_place_is_a_config_error(load):
    cfg = load(BASE, "ToyDetector.backbone=ToyNeck")
    with pytest.raises(
        ConfigError, match="ToyNeck cannot stand where the config puts it: missing .*'input_shape'"
    ):
        create(cfg.architecture, cfg)
