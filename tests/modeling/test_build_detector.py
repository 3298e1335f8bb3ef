"""Configurations whose architecture is no detector, or not named."""

import pytest
from paddle import nn

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import load_config, register
from ppdet_lite.modeling.build_detector import build_detector
from ppdet_lite.modeling.contracts import Detector
from ppdet_lite.modeling.detectors.yolov3 import YOLOv3
from ppdet_lite.modeling.detectors.yolox import YOLOX
from ppdet_lite.modeling.heads.yolov3_head import YOLOv3Head
from ppdet_lite.modeling.heads.yolox_head import YOLOXHead


@pytest.fixture
def load(tmp_path):
    def _load(text):
        path = tmp_path / "c.yml"
        path.write_text(text)
        return load_config(path)

    return _load


@pytest.mark.parametrize("part", ["ResNet", "DarkNet", "CSPDarkNet", "YOLOXHead"])
def test_a_part_is_no_detector(load, part):
    with pytest.raises(ConfigError) as caught:
        build_detector(load(f"width_mult: 0.125\narchitecture: {part}\n"))
    assert f"c.yml:2: architecture: found '{part}', which is no detector" in str(caught.value)


def test_a_detector_of_ones_own_derives_from_the_contract(load):
    @register
    class OwnDetector(nn.Layer):
        pass

    @register
    class OwnYOLOv3(Detector):
        pass

    with pytest.raises(ConfigError, match="architecture: found 'OwnDetector', .*contracts.Detect"):
        build_detector(load("architecture: OwnDetector\n"))
    assert type(build_detector(load("architecture: OwnYOLOv3\n"))) is OwnYOLOv3


def test_a_file_without_architecture_is_told_so(load):
    with pytest.raises(ConfigError) as caught:
        build_detector(load("width_mult: 0.125\n"))
    missing, reason = caught.value.problems
    assert missing.endswith("c.yml: architecture: missing, so it was taken for YOLOv3")
    assert "YOLOv3Head: anchor_masks: found" in reason


def test_other_errors_stay_as_they_are(load):
    with pytest.raises(ConfigError) as caught:
        build_detector(load("width_mult: 0.125\narchitecture: YOLOv3\n"))
    (problem,) = caught.value.problems
    assert "YOLOv3Head: anchor_masks" in problem


def test_a_head_of_the_other_detector():
    """A configuration says so while it is read; parts put together by hand get here."""
    anchored, free = (
        YOLOv3Head([8], anchors=[[10, 13]], anchor_masks=[[0]], num_classes=2),
        YOLOXHead(num_classes=2, in_channels=[8], fpn_strides=[32], feat_channels=8),
    )
    parts = nn.Identity(), nn.Identity()
    with pytest.raises(ConfigError, match="^head: found 'YOLOv3Head'"):
        YOLOX(*parts, anchored)
    with pytest.raises(ConfigError, match="^yolo_head: found 'YOLOXHead'"):
        YOLOv3(*parts, free)


def test_a_detector_that_can_be_built(load):
    text = "architecture: YOLOX\nwidth_mult: 0.125\ndepth_mult: 0.33\n"
    assert type(build_detector(load(text))).__name__ == "YOLOX"
