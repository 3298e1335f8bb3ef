"""The head: what its outputs mean, and facts that several sections may state."""

import pytest

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create
from ppdet_lite.modeling.geometry.anchor_levels import agreed_value, level_anchors
from ppdet_lite.modeling.heads.yolov3_head import YOLOv3Head
from ppdet_lite.modeling.losses.yolov3_loss import YOLOv3Loss


def _head(**arguments):
    return YOLOv3Head(**{"in_channels": [8, 4, 4], "num_classes": 3, **arguments})


def test_default_levels():
    levels = _head().levels
    assert [level.stride for level in levels] == [32, 16, 8]
    assert [level.scale_x_y for level in levels] == [1.0, 1.0, 1.0]
    assert levels[0].anchors == ((116, 90), (156, 198), (373, 326))
    assert levels[2].anchors == ((10, 13), (16, 30), (33, 23))


@pytest.mark.parametrize("iou_aware, channels", [(False, 3 * 8), (True, 3 * 9)])
def test_output_channels_and_bias(iou_aware, channels):
    head = _head(iou_aware=iou_aware)
    for conv in head.yolo_output:
        assert conv.weight.shape[0] == channels
        assert conv.weight.regularizer is None
        assert conv.bias.regularizer._coeff == 0
    assert list(head.state_dict())[:2] == ["yolo_output.0.weight", "yolo_output.0.bias"]


def test_facts_come_from_the_loss_when_the_head_is_silent():
    head = _head(loss=YOLOv3Loss(3, downsample=[64, 32, 16], scale_x_y=1.05))
    assert [level.stride for level in head.levels] == [64, 32, 16]
    assert {level.scale_x_y for level in head.levels} == {1.05}


def test_scale_per_level():
    head = _head(scale_x_y=[1.05, 1.1, 1.2], loss=YOLOv3Loss(3, scale_x_y=[1.05, 1.1, 1.2]))
    assert [level.scale_x_y for level in head.levels] == [1.05, 1.1, 1.2]


@pytest.mark.parametrize(
    "arguments, text",
    [
        (
            {"scale_x_y": 1.1, "loss": YOLOv3Loss(3, scale_x_y=1.05)},
            r"YOLOv3Loss.scale_x_y is 1.05 but YOLOv3Head.scale_x_y is 1.1: grid sensitivity is a "
            r"property of the network and must be the same everywhere; state it once",
        ),
        (
            {"strides": [32, 16, 8], "loss": YOLOv3Loss(3, downsample=[8, 16, 32])},
            r"YOLOv3Loss.downsample is \[8, 16, 32\] but YOLOv3Head.strides is \[32, 16, 8\]",
        ),
        ({"strides": [32, 16]}, r"found \[32, 16\], allowed: one number, or one per level \(3\)"),
        (
            {"anchor_masks": [[0, 1, 2], [3, 4, 5]]},
            r"anchor_masks: found \[\[0, 1, 2\], \[3, 4, 5\]\], allowed: 3 masks",
        ),
        (
            {"anchor_masks": [[6, 7, 9], [3, 4, 5], [0, 1, 2]]},
            r"anchor_masks.0: found \[6, 7, 9\], allowed: indices 0 to 8 into anchors",
        ),
        ({"anchor_masks": [[], [3], [0]]}, r"anchor_masks.0: found \[\], allowed: indices 0 to 8"),
        ({"iou_aware_factor": 1.5}, r"iou_aware_factor: found 1.5, allowed: 0 to 1"),
        ({"num_classes": 0}, r"num_classes: found 0, allowed: 1 to 100000"),
    ],
)
def test_errors(arguments, text):
    with pytest.raises(ConfigError, match=text):
        create("YOLOv3Head", Config({"YOLOv3Head": arguments}))


@pytest.mark.parametrize("anchor", [[10], [10, 0], [10, -3], [10, 2.5], "10", 10, [10, "a"]])
def test_bad_anchor(anchor):
    with pytest.raises(ConfigError, match=r"anchors.1: found .*, allowed: \[width, height\]"):
        level_anchors([[10, 13], anchor], [[0, 1]], 1)


def test_all_anchor_problems_at_once():
    with pytest.raises(ConfigError) as error:
        level_anchors([[0, 1]], [[0], [5]], 1)
    assert len(error.value.problems) == 3


def test_agreed_value_of_silent_sections():
    assert agreed_value("x", {"a": None, "b": None}, 2) is None
    assert agreed_value("x", {"a": None, "b": 3}, 2) == (3, 3)
    assert agreed_value("x", {"a": [3, 3], "b": 3}, 2) == (3, 3)
