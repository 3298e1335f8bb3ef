"""Transform lists that cannot work are refused when the reader is made, those that may are not."""

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError, ImageError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.data.reader.readers import EvalReader, TrainReader
from ppdet_lite.data.transforms.box_formats import BboxXYXY2XYWH, NormalizeBox, PadBox
from ppdet_lite.data.transforms.crop import RandomCrop
from ppdet_lite.data.transforms.decode import Decode
from ppdet_lite.data.transforms.expand_flip import RandomFlip
from ppdet_lite.data.transforms.mixup import Mixup
from ppdet_lite.data.transforms.mosaic import Mosaic
from ppdet_lite.data.transforms.normalize import NormalizeImage, Permute
from ppdet_lite.data.transforms.pad import Pad, PadResize
from ppdet_lite.data.transforms.resize import BatchRandomResize, Resize
from ppdet_lite.data.transforms.yolo_targets import Gt2YoloTarget

YOLOX = "configs/yolox/yolox_tiny_300e_coco.yml"


@pytest.mark.parametrize(
    ("steps", "key", "before"),
    [
        ([Resize([64, 96]), Pad([64, 95])], "1.Pad.size", "Resize.target_size [64, 96]"),
        (
            [Resize([64, 96], keep_ratio=True), RandomFlip(), Pad([63, 95], pad_mode=1)],
            "2.Pad.size",
            "Resize.target_size [64, 96] (keep_ratio)",
        ),
        (
            [PadResize(64), NormalizeImage(), Pad(64, pad_mode=-1, offsets=[1, 0]), Permute()],
            "2.Pad.size",
            "PadResize.target_size [64, 64]",
        ),
        (
            [Resize(64), Pad(pad_mode=-1, offsets=[0, 3])],
            "1.Pad.offsets",
            "Resize.target_size [64, 64]",
        ),
        ([Resize(32), Pad(96), Pad(64)], "2.Pad.size", "Pad.size [96, 96]"),
        ([Resize(70), Pad(), Pad(64)], "2.Pad.size", "Pad.size_divisor [96, 96]"),
    ],
)
def test_a_sheet_smaller_than_the_images(steps, key, before):
    with pytest.raises(ConfigError) as caught:
        EvalReader(steps)
    assert str(caught.value).startswith(f"sample_transforms.{key}: found [")
    assert str(caught.value).endswith(f"sample_transforms.{before}")
    photo = {"image": np.zeros((70, 50, 3), np.uint8), "im_file": "a.jpg"}
    with pytest.raises(ImageError, match="does not fit"):  # as every image would have
        for step in steps:
            photo = photo if isinstance(step, (NormalizeImage, Permute)) else step(photo)


def test_a_sheet_smaller_than_one_of_the_sizes_of_a_batch():
    steps = [BatchRandomResize([32, 64, 96]), Pad(64)]
    match = r"^batch_transforms\.1\.Pad\.size: found .*BatchRandomResize.target_size \[96, 96\]"
    with pytest.raises(ConfigError, match=match):
        TrainReader([Decode()], steps)


@pytest.mark.parametrize(
    "steps",
    [
        [Resize([64, 96]), Pad([64, 96])],
        [Resize([64, 96], keep_ratio=True), Pad([64, 64])],  # holds portraits
        [Resize([64, 96], keep_ratio=True), Pad([32, 96])],  # holds panoramas
        [Resize(96), RandomCrop(), Pad(64)],
        [Resize(96), lambda sample, context: sample, Pad(64)],
        [Resize(96), Pad(size_divisor=64)],
        [Resize(96, keep_ratio=True), Pad(), Pad(64)],
        [Resize(64), Pad(65, pad_mode=-1, offsets=[1, 1])],
        [Decode(), Pad(64)],
    ],
)
def test_what_may_fit_is_left_alone(steps):
    assert EvalReader(steps).sample_transforms == steps


def test_a_resize_changed_without_its_pad_is_named_with_the_line_of_the_pad(repo):
    override = "EvalReader.sample_transforms.Resize.target_size=[640, 640]"
    cfg = load_config(repo / YOLOX, [override])
    with pytest.raises(ConfigError) as caught:
        create("EvalReader", cfg)
    text = (repo / "configs/yolox/_base_/yolox_reader_small.yml").read_text()
    line = text[: text.index("Pad: {size")].count("\n") + 1
    assert str(caught.value).startswith(
        f"{repo}/configs/yolox/_base_/yolox_reader_small.yml:{line}: EvalReader: "
        "sample_transforms.2.Pad.size: found [416, 416]"
    )
    both = [override, "EvalReader.sample_transforms.Pad.size=[640, 640]"]
    assert create("EvalReader", load_config(repo / YOLOX, both)).input_sizes()[1] == ((640, 640),)


TARGET = Gt2YoloTarget([[10, 10]], [[0]])


@pytest.mark.parametrize(
    ("steps", "key", "lacking"),
    [
        ([NormalizeBox(), Resize(64)], "1.Resize", "pixels"),
        ([BboxXYXY2XYWH(), RandomFlip()], "1.RandomFlip", "corners"),
        ([NormalizeBox(), NormalizeBox()], "1.NormalizeBox", "pixels"),
        ([NormalizeBox(), BboxXYXY2XYWH(), Mixup()], "2.Mixup", "pixels and corners"),
        ([BboxXYXY2XYWH(), PadBox(), TARGET], "2.Gt2YoloTarget", "fractions"),
        ([NormalizeBox(), PadBox(), TARGET], "2.Gt2YoloTarget", "centers"),
        ([NormalizeBox(), BboxXYXY2XYWH(), TARGET], "2.Gt2YoloTarget", "padded"),
        ([NormalizeBox(), BboxXYXY2XYWH(), PadBox(), TARGET, TARGET], "4.Gt2Y", "padded"),
    ],
)
def test_orders_that_would_give_wrong_boxes(steps, key, lacking):
    with pytest.raises(ConfigError, match=rf"{key}\w*: found boxes .* that are {lacking};"):
        TrainReader(steps)


def test_transforms_in_the_wrong_list():
    with pytest.raises(ConfigError, match=r"^sample_transforms\.1\.BatchRandomResize: found"):
        TrainReader([Decode(), BatchRandomResize([32])])
    for mixing in (Mixup(), Mosaic()):
        with pytest.raises(ConfigError, match=r"^batch_transforms\.0\.M\w+: found in batch"):
            TrainReader([Decode()], [mixing])


@pytest.mark.parametrize(
    ("name", "key", "bad"),
    [
        ("BatchRandomResize", "target_size", [[320.0], 320.5, [0], [-32], [10**9], [], ["320"]]),
        ("Resize", "target_size", [float("nan"), True, "64", [64, 64, 64], [64], 10**6]),
        ("RandomExpand", "ratio", [float("inf"), 1e9, "4", 1.0, None]),
        ("RandomCrop", "aspect_ratio", [[2, 1], [0, 1], [0.5], [float("nan"), 1], 2]),
        ("RandomCrop", "num_attempts", [0, -1, 1.5, 10**9]),
        ("Mixup", "alpha", [0, -1, float("nan"), "1"]),
        ("NormalizeImage", "std", [[0, 1, 1], [1e-320, 1, 1], [1, 1], "abc"]),
        ("RandomDistort", "hue", [[1, 0, 0.5], [0, 1, 2], [0, 1], [0, float("inf"), 1]]),
        ("Mosaic", "mixup_scale", [[0, 1], [1, 1e6], [2, 1]]),
        ("PadBox", "num_max_boxes", [0, 10**9, 50.0, None]),
        ("Pad", "fill_value", [[1, 2], "red", float("nan")]),
        ("Gt2YoloTarget", "anchor_masks", [[], [[]], [[0], [99]], [[-1]], [[0.5]], 3]),
    ],
)
def test_settings_are_checked_where_they_stand(name, key, bad):
    """By key and place, whether they come from a configuration or from a program."""
    group = "batch" if name.startswith("Batch") else "sample"
    for value in bad:
        settings = {"target_size": 64} if name == "Resize" else {}
        spec = {name: {**settings, key: value}}
        with pytest.raises(
            ConfigError, match=rf"TrainReader\.{group}_transforms\.0\.{name}: {key}:"
        ):
            TrainReader(**{f"{group}_transforms": [spec]})
