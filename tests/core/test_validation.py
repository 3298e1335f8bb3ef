"""The report of everything that is wrong in a configuration."""

import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.registry import registered
from ppdet_lite.core.workspace import create, load_config, register
from ppdet_lite.modeling.necks.pyramid import PyramidNeck

BASE = """
architecture: ToyDetector
ToyDetector: {backbone: ToyBackbone, neck: ToyNeck}
ToyBackbone: {depth: 18}
"""


def test_all_problems_come_in_one_report(problems):
    text = (
        BASE
        + "epok: 3\nuse_ema: 1\nToyNeck:\n  act: mich\n  in_chanels: [1]\n"
        + "ToyLos: {weight: 1}\nToyLoss: {weight: heavy, threshold: null}\nnum_classes: [3]\n"
    )
    loss = "ToyDetector.loss=ToyLss"
    assert problems(text, "ToyBackbone.depth=deep", loss, "nonsense") == [
        "-o nonsense: found no KEY=VALUE",
        f"-o {loss}: ToyDetector.loss: found 'ToyLss', which is not a registered class; "
        "did you mean 'ToyLoss'?",
        "-o ToyBackbone.depth=deep: ToyBackbone.depth: found 'deep' (text)",
        "c.yml:5: epok: unknown key; did you mean 'epoch'?",
        "c.yml:6: use_ema: found 1 (int)",
        "c.yml:8: ToyNeck.act: found 'mich' (text)",
        "c.yml:9: ToyNeck.in_chanels: unknown key of ToyNeck; did you mean 'in_channels'?",
        "c.yml:10: ToyLos: unknown section; did you mean 'ToyLoss'?",
        "c.yml:11: ToyLoss.weight: found 'heavy' (text)",
        "c.yml:12: num_classes: found [3] (list)",
    ]


@pytest.mark.parametrize(
    "text, allowed",
    [
        ("use_ema: 1", "true or false"),
        ("ToyNeck: {act: mich}", "'mish' or 'relu'"),
        ("ToyNeck: {in_channels: [1, a]}", "a list, each element an integer"),
        ("ToyNeck: {in_chanels: 1}", "act, in_channels"),
        ("ToyLoss: {threshold: low}", "a number or null"),
        ("ToyLoss: 3", "a mapping with keys of ToyLoss"),
        ("epoch: 0", "1 or more"),
        ("ema_decay: 1.5", "0 to 1"),
        ("export: [nms]", "a mapping with keys of ExportSettings"),
    ],
)
def test_the_report_says_what_is_allowed(load, text, allowed):
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert str(caught.value).endswith(f"allowed: {allowed}")


def test_reader_lists_are_checked_inside(problems):
    text = (
        "TrainReader:\n  sample_transforms:\n  - Decode: {}\n  - Mixop: {alpha: 1}\n"
        "  - Mixup: {alpa: 1}\n"
    )
    place = "TrainReader.sample_transforms"
    first, second = problems(text)
    assert first.startswith(f"c.yml:4: {place}.1.Mixop: found 'Mixop'") and "'Mixup'?" in first
    assert second.startswith(f"c.yml:5: {place}.2.Mixup.alpa: unknown key") and "'alpha'" in second


def test_keys_without_effect_are_accepted_and_listed(load):
    text = "use_xpu: false\nprint_flops: false\nexport: {fuse_conv_bn: true, nms: false}\n"
    cfg = load(BASE + text, "ToyBackbone.legacy=1")
    assert sorted(cfg.unused) == [
        "ToyBackbone.legacy",
        "export.fuse_conv_bn",
        "print_flops",
        "use_xpu",
    ]
    assert create("ToyBackbone", cfg).depth == 18
    assert (cfg.settings.export.nms, cfg.settings.export.benchmark) == (False, False)


def test_the_section_export_is_checked(problems):
    assert problems("export: {nms: maybe, nsm: true}\n") == [
        "c.yml:1: export.nms: found 'maybe' (text)",
        "c.yml:1: export.nsm: unknown key of ExportSettings; did you mean 'nms'?",
    ]


def test_custom_modules_register_classes(load, problems, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from ppdet_lite.core.workspace import register\n\n\n@register\nclass MyOwnLoss:\n"
        "    def __init__(self, weight: float = 1.0):\n        self.weight = weight\n"
    )
    cfg = load("custom_modules: [mine.py]\nMyOwnLoss: {weight: 2.0}\n")
    assert create("MyOwnLoss", cfg).weight == 2.0
    (tmp_path / "half.py").write_text("x = (\n")
    missing, unknown, half = problems("custom_modules: [no.py, no.such, half.py]\n")
    assert missing.startswith("c.yml:1: custom_modules.0: found 'no.py'")
    assert unknown.startswith("c.yml:1: custom_modules.1: found 'no.such'")
    assert half.startswith("c.yml:1: custom_modules.2: found 'half.py'") and "line 1" in half


def test_values_out_of_range(load, problems):
    overrides = ["epoch=0", "ema_decay=1.5", "seed=-1", "metric=coco", "worker_num=-1"]
    assert problems(BASE, *overrides) == [
        "-o epoch=0: epoch: found 0 (int)",
        "-o ema_decay=1.5: ema_decay: found 1.5 (float)",
        "-o seed=-1: seed: found -1 (int)",
        "-o metric=coco: metric: found 'coco' (text)",
        "-o worker_num=-1: worker_num: found -1 (int)",
    ]
    assert load(BASE, "seed=null", "ema_decay=1", "worker_num=0").seed is None


def test_an_unknown_architecture_is_named_with_its_key(problems):
    (problem,) = problems(BASE, "architecture=ToyDetectr")
    assert "architecture: found 'ToyDetectr'" in problem and "'ToyDetector'?" in problem


# -------------------------------------------------------------------- parts of another kind
@register
class OwnPart:
    """Derives from nothing, as a user's own loss or NMS may."""

    def __init__(self, loss: str = "", nms=None):
        self.loss, self.nms = loss, nms

    def __call__(self, sample, context):
        return sample


@pytest.mark.parametrize(
    "text, place, found, allowed",
    [
        ("YOLOv3: {neck: YOLOv3Head}", "YOLOv3.neck", "YOLOv3Head", "PPYOLOPAN"),
        ("YOLOv3: {backbone: YOLOv3Loss}", "YOLOv3.backbone", "YOLOv3Loss", "ResNet"),
        (
            "YOLOv3: {post_process: MatrixNMS}",
            "YOLOv3.post_process",
            "MatrixNMS",
            "BBoxPostProcess",
        ),
        ("YOLOv3Head: {loss: COCODataSet}", "YOLOv3Head.loss", "COCODataSet", "YOLOv3Loss"),
        (
            "BBoxPostProcess: {nms: {name: YOLOv3Loss, label_smooth: true}}",
            "BBoxPostProcess.nms",
            "YOLOv3Loss",
            "MatrixNMS, MultiClassNMS",
        ),
        (
            "BBoxPostProcess: {decode: !MatrixNMS {keep_top_k: 10}}",
            "BBoxPostProcess.decode",
            "MatrixNMS",
            "YOLOBox",
        ),
        (
            "YOLOv3Loss: {iou_aware_loss: {IouLoss: {}}}",
            "YOLOv3Loss.iou_aware_loss.IouLoss",
            "IouLoss",
            "IouAwareLoss, SoftWeightIouAwareLoss",
        ),
        ("YOLOXHead: {nms: SimOTAAssigner}", "YOLOXHead.nms", "SimOTAAssigner", "MatrixNMS"),
        ("YOLOX: {head: YOLOv3Head}", "YOLOX.head", "YOLOv3Head", "YOLOXHead"),
        (
            "LearningRate: {schedulers: [!Resize {target_size: 64}]}",
            "LearningRate.schedulers.0",
            "Resize",
            "CosineDecay, ExpWarmup",
        ),
        (
            "TrainReader: {sample_transforms: [Decode: {}, MatrixNMS: {}]}",
            "TrainReader.sample_transforms.1.MatrixNMS",
            "MatrixNMS",
            "AugmentHSV, BatchRandomResize",
        ),
    ],
)
def test_a_part_of_another_kind(load, text, place, found, allowed):
    with pytest.raises(ConfigError) as caught:
        load(text + "\n")
    (problem,) = caught.value.problems
    start, _, fitting = problem.partition(", allowed here: ")
    assert start.endswith(f"/c.yml:1: {place}: found '{found}'")
    assert allowed in fitting and found not in fitting.split(", ")


def test_classes_of_the_users_own_are_taken_anywhere(load):
    text = "BBoxPostProcess: {nms: OwnPart}\nOwnPart: {loss: IouLoss, nms: {name: IouLoss}}\n"
    cfg = load(text + "TrainReader: {sample_transforms: [Decode: {}, OwnPart: {}]}\n")
    assert isinstance(create("BBoxPostProcess", cfg).nms, OwnPart)
    assert isinstance(create("TrainReader", cfg).sample_transforms[1], OwnPart)


def test_an_own_neck_that_derives_from_one_is_among_those_that_fit(load, monkeypatch):
    own = type("OwnNeck", (PyramidNeck,), {"__module__": "mine"})
    monkeypatch.setitem(registered(), "OwnNeck", own)
    with pytest.raises(ConfigError, match="allowed here: .*OwnNeck, PPYOLOFPN"):
        load("YOLOv3: {neck: YOLOv3Head}\n")
    assert load("YOLOv3: {neck: OwnNeck}\n").YOLOv3 == {"neck": "OwnNeck"}


def test_without_validation_nothing_is_filled_in(tmp_path):
    path = tmp_path / "c.yml"
    path.write_text("anything: 1\n")
    assert load_config(path, validate=False) == {"anything": 1}
