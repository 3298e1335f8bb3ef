"""What stands in a configuration where something of another kind belongs is reported at its key."""

import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.registry import registered
from ppdet_lite.core.workspace import create, load_config, register
from ppdet_lite.modeling.necks.pyramid import PyramidNeck

NECKS = "PPYOLOFPN, PPYOLOPAN, PPYOLOTinyFPN, YOLOCSPPAN, YOLOv3FPN"


@register
class OwnPart:
    """Derives from nothing, as a user's own loss or NMS may."""

    def __init__(self, loss: str = "", nms=None):
        self.loss, self.nms = loss, nms


@pytest.fixture
def load(tmp_path):
    def _load(text, *overrides):
        path = tmp_path / "c.yml"
        path.write_text(text)
        return load_config(path, overrides)

    return _load


@pytest.mark.parametrize(
    "text, problem",
    [
        ("YOLOv3: {neck: YOLOv3Head}", f"YOLOv3.neck: found 'YOLOv3Head', allowed here: {NECKS}"),
        (
            "YOLOv3: {backbone: YOLOv3Loss}",
            "YOLOv3.backbone: found 'YOLOv3Loss', allowed here: CSPDarkNet, DarkNet, MobileNetV3, "
            "ResNet",
        ),
        (
            "YOLOv3: {post_process: MatrixNMS}",
            "YOLOv3.post_process: found 'MatrixNMS', allowed here: BBoxPostProcess",
        ),
        (
            "YOLOv3Head: {loss: MatrixNMS}",
            "YOLOv3Head.loss: found 'MatrixNMS', allowed here: YOLOv3Loss",
        ),
        (
            "YOLOv3Head: {loss: COCODataSet}",
            "YOLOv3Head.loss: found 'COCODataSet', allowed here: YOLOv3Loss",
        ),
        (
            "BBoxPostProcess: {nms: {name: YOLOv3Loss, label_smooth: true}}",
            "BBoxPostProcess.nms: found 'YOLOv3Loss', allowed here: MatrixNMS, MultiClassNMS",
        ),
        (
            "BBoxPostProcess: {decode: !MatrixNMS {keep_top_k: 10}}",
            "BBoxPostProcess.decode: found 'MatrixNMS', allowed here: YOLOBox",
        ),
        (
            "YOLOv3Loss: {iou_aware_loss: {IouLoss: {}}}",
            "YOLOv3Loss.iou_aware_loss.IouLoss: found 'IouLoss', allowed here: IouAwareLoss, "
            "SoftWeightIouAwareLoss",
        ),
        (
            "YOLOXHead: {nms: SimOTAAssigner}",
            "YOLOXHead.nms: found 'SimOTAAssigner', allowed here: MatrixNMS, MultiClassNMS",
        ),
        (
            "YOLOX: {head: YOLOv3Head}",
            "YOLOX.head: found 'YOLOv3Head', allowed here: YOLOXHead",
        ),
        (
            "LearningRate: {schedulers: [!Resize {target_size: 64}]}",
            "LearningRate.schedulers.0: found 'Resize', allowed here: CosineDecay, ExpWarmup, "
            "LinearWarmup, PiecewiseDecay",
        ),
    ],
)
def test_a_part_of_another_kind(load, tmp_path, text, problem):
    with pytest.raises(ConfigError) as caught:
        load(text + "\n")
    assert caught.value.problems == [f"{tmp_path}/c.yml:1: {problem}, or a class of your own"]


def test_a_layer_among_transforms(load, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load("TrainReader:\n  sample_transforms:\n  - Decode: {}\n  - MatrixNMS: {}\n")
    (problem,) = caught.value.problems
    place = "TrainReader.sample_transforms.1.MatrixNMS: found 'MatrixNMS', allowed here: "
    assert problem.startswith(f"{tmp_path}/c.yml:4: {place}AugmentHSV, BatchRandomResize, ")


def test_an_override_is_named_as_such(load):
    with pytest.raises(ConfigError, match="^-o YOLOv3.neck=ResNet: YOLOv3.neck: found 'ResNet'"):
        load("architecture: YOLOv3\n", "YOLOv3.neck=ResNet")


def test_classes_of_the_users_own_are_taken_anywhere(load):
    text = "BBoxPostProcess: {nms: OwnPart}\nOwnPart: {loss: IouLoss, nms: {name: IouLoss}}\n"
    cfg = load(text + "TrainReader: {sample_transforms: [Decode: {}, OwnPart: {}]}\n")
    assert isinstance(create("BBoxPostProcess", cfg).nms, OwnPart)
    assert isinstance(create("TrainReader", cfg).sample_transforms[1], OwnPart)


def test_an_own_neck_that_derives_from_one_is_among_those_that_fit(load, monkeypatch):
    own = type("OwnNeck", (PyramidNeck,), {"__module__": "mine"})
    monkeypatch.setitem(registered(), "OwnNeck", own)
    with pytest.raises(ConfigError, match="allowed here: OwnNeck, PPYOLOFPN"):
        load("YOLOv3: {neck: YOLOv3Head}\n")
    assert load("YOLOv3: {neck: OwnNeck}\n").YOLOv3 == {"neck": "OwnNeck"}
