"""Activations and values of [yolo] in a `.cfg` that the configuration here does not have."""

from pathlib import Path

import pytest

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.weights.convert.converter import conversion_of
from ppdet_lite.weights.convert.darknet_cfg import read_cfg
from tests.weights.darknet_files import TINY_CFG

TINY = Path(__file__).resolve().parents[2] / "configs/yolov4/yolov4_tiny_coco.yml"


def stated(text, act="leaky", output_act="linear", layer=""):
    """A `.cfg` with activations, and keys in its `[yolo]`."""
    text = text.replace("batch_normalize=1", f"batch_normalize=1\nactivation={act}")
    text = text.replace("activation=linear", f"activation={output_act}")
    first, second, third = text.split("mask = 3,4,5\n")
    anchors = "anchors = 10,14,  23,27,  37,58,  81,82,  135,169,  344,319\n"
    more = "".join(f"{line}\n" for line in ("scale_x_y = 1.05", anchors.strip(), layer))
    return f"{first}mask = 3,4,5\n{more}{second}mask = 1,2,3\n{more}{third}"


@pytest.mark.parametrize(
    "changes, options",
    [
        ({}, None),
        ({"layer": "new_coords=0"}, None),
        (
            {"layer": "anchors = 10,13, 16,30, 33,23, 30,61, 62,45, 59,119"},
            "YOLOv4Head.anchors=[[10,13],[16,30],[33,23],[30,61],[62,45],[59,119]]",
        ),
        ({"layer": "mask=0,1,2"}, "YOLOv4Head.anchor_masks=[[0,1,2],[0,1,2]]"),
        ({"layer": "scale_x_y = 1.2"}, "YOLOv4Head.scale_x_y=[1.2,1.2]"),
        ({"layer": "new_coords=1", "output_act": "logistic"}, "YOLOv4Head.new_coords=true"),
        ({"act": "mish"}, "CSPDarknetTiny.act=mish YOLOv4TinyFPN.act=mish YOLOv4Head.act=mish"),
    ],
)
def test_what_the_cfg_states_otherwise_is_told(changes, options, tiny_file, cfg_file, tmp_path):
    cfg_file.write_text(stated(TINY_CFG, **changes))
    notes = conversion_of(tiny_file, description=cfg_file).notes
    if options is None:
        assert notes == []
        return
    assert notes == [f"{cfg_file} is not yolov4_tiny_coco: set -o {options}"]
    # A configuration that has these values is what the file describes.
    cfg = load_config(TINY, options.split())
    assert conversion_of(tiny_file, description=cfg_file, config=cfg).notes == []


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"act": "selu"}, r"line 5: \[convolutional\] activation: found 'selu', allowed: leaky"),
        ({"output_act": "logistic"}, "activation: found 'logistic', allowed: linear"),
        ({"layer": "new_coords=1"}, "activation: found 'linear', allowed: logistic"),
        ({"layer": "anchors = 10.5,14"}, r"\[yolo\] anchors: found '10.5,14', .*whole numbers"),
        ({"layer": "scale_x_y = much"}, "scale_x_y: found 'much', allowed: numbers"),
    ],
)
def test_what_no_option_gives_is_refused(changes, message, tiny_file, cfg_file):
    cfg_file.write_text(stated(TINY_CFG, **changes))
    with pytest.raises(CheckpointError, match=message):
        conversion_of(tiny_file, description=cfg_file)


def test_one_activation_of_another_kind_is_refused(tiny_file, cfg_file):
    text = stated(TINY_CFG)
    head, _, tail = text.rpartition("activation=leaky")
    cfg_file.write_text(f"{head}activation=mish{tail}")
    with pytest.raises(CheckpointError, match="found 'mish', allowed: leaky"):
        conversion_of(tiny_file, description=cfg_file)
    cfg_file.write_text("[net]\n[convolutional]\n[shortcut]\nfrom=-1\nactivation=leaky\n")
    with pytest.raises(CheckpointError, match=r"\[shortcut\] activation: found 'leaky'"):
        read_cfg(cfg_file)
