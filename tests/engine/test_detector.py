"""Configurations whose architecture is no detector, or not named."""

import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.engine.detector import build_detector


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
    assert str(caught.value).endswith(
        f"c.yml:2: architecture: found '{part}', which is a part of a detector, allowed: a "
        "detector, for instance YOLOv3 or YOLOX"
    )


def test_a_file_without_architecture_is_told_so(load):
    with pytest.raises(ConfigError) as caught:
        build_detector(load("width_mult: 0.125\n"))
    missing, reason = caught.value.problems
    assert missing.endswith("c.yml: architecture: missing, so it was taken for YOLOv3")
    assert "YOLOv3Head: anchor_masks: found 3 masks" in reason


def test_other_errors_stay_as_they_are(load):
    with pytest.raises(ConfigError) as caught:
        build_detector(load("width_mult: 0.125\narchitecture: YOLOv3\n"))
    (problem,) = caught.value.problems
    assert "YOLOv3Head: anchor_masks" in problem


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "architecture: YOLOX\nYOLOX: {head: YOLOv3Head}\n",
            "c.yml:2: YOLOX: head: found YOLOv3Head, needed: an anchor-free head, for instance "
            "YOLOXHead",
        ),
        (
            "architecture: YOLOv3\n"
            "YOLOv3: {backbone: DarkNet, neck: YOLOv3FPN, yolo_head: YOLOXHead}\n",
            "c.yml:2: YOLOv3: yolo_head: found YOLOXHead, needed: a head with anchors, for "
            "instance YOLOv3Head",
        ),
    ],
)
def test_a_head_of_the_other_detector(load, text, message):
    with pytest.raises(ConfigError) as caught:
        build_detector(load(f"{text}width_mult: 0.125\nact: leaky\n"))
    assert str(caught.value).endswith(message)


def test_a_detector_that_can_be_built(load):
    text = "architecture: YOLOX\nwidth_mult: 0.125\ndepth_mult: 0.33\n"
    assert type(build_detector(load(text))).__name__ == "YOLOX"
