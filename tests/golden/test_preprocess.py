"""Pixels that leave the readers and the deployment pipeline against the reference."""

import zlib

import cv2
import numpy as np
import pytest

from ppdet_lite.data.pixels.image_ops import Preprocess, decode_image
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.reader.collate import Collator, RawBatch
from ppdet_lite.data.reader.plan import Plan
from ppdet_lite.data.reader.readers import EvalReader
from ppdet_lite.data.transforms.box_formats import BboxXYXY2XYWH, NormalizeBox, PadBox
from ppdet_lite.data.transforms.decode import Decode
from ppdet_lite.data.transforms.normalize import NormalizeImage, Permute
from ppdet_lite.data.transforms.pad import Pad
from ppdet_lite.data.transforms.resize import BatchRandomResize, Resize
from ppdet_lite.data.transforms.transform import Context
from ppdet_lite.data.transforms.yolo_targets import Gt2YoloTarget

SIZES = [(96, 96), (64, 128)]
ANCHORS = [10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326]
MASKS = [[6, 7, 8], [3, 4, 5], [0, 1, 2]]
STD = np.array([0.229, 0.224, 0.225])[None, :, None, None]


class PhotoFiles:
    """A data set of the recorded source photos, written as PNG files."""

    name, class_names = "photos", []

    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def record(self, index):
        return {"im_file": str(self.paths[index]), "im_id": np.array([index])}


@pytest.fixture(params=SIZES, ids="{0[0]}x{0[1]}".format)
def recorded(request, golden, golden_fill, tmp_path):
    """(size, arrays of a recorded file by family, data set of its photos)."""
    height, width = request.param
    load = {
        family: np.load(golden / "preprocess" / f"{family}_{height}x{width}.npz")
        for family in ("ppyolov2", "yolox")
    }
    paths = []
    for index in range(4):
        photo = golden_fill.synth(*load["ppyolov2"][f"src_hwk_{index}"])
        assert zlib.crc32(photo.tobytes()) == load["ppyolov2"][f"src_crc32_{index}"]
        paths.append(tmp_path / f"{index}.png")
        cv2.imwrite(str(paths[-1]), photo[..., ::-1])
    return request.param, load, PhotoFiles(paths)


def test_eval_reader(recorded):
    size, load, photos = recorded
    steps = [Decode(), Resize(list(size), False, 2), NormalizeImage(), Permute()]
    (batch,) = EvalReader(steps, batch_size=4, dataset=photos)
    reference = load["ppyolov2"]
    for index in range(4):
        np.testing.assert_allclose(batch["image"][index], reference[f"image_{index}"], atol=2e-6)
        for key in ("im_shape", "scale_factor"):
            np.testing.assert_array_equal(batch[key][index], reference[f"{key}_{index}"])


def test_deployment_equals_the_eval_reader_to_the_bit(recorded):
    size, _, photos = recorded
    steps = [Decode(), Resize(list(size), False, 2), NormalizeImage(), Permute()]
    reader = EvalReader(steps, batch_size=4, dataset=photos)
    (batch,) = reader
    preprocess = Preprocess(reader.preprocess_config())
    for index, path in enumerate(photos.paths):
        deployed = preprocess(decode_image(path))
        for key in ("image", "im_shape", "scale_factor"):
            np.testing.assert_array_equal(deployed[key], batch[key][index])


@pytest.fixture
def fitting_reader(recorded):
    """The EvalReader of YOLOX at the recorded size."""
    size, _, photos = recorded
    steps = [
        Decode(),
        Resize(list(size), keep_ratio=True, interp=1),
        Pad(size=list(size), fill_value=[114.0, 114.0, 114.0]),
        Permute(),
    ]
    return EvalReader(steps, batch_size=4, dataset=photos)


def test_keep_ratio_and_padding(recorded, fitting_reader):
    size, load, _ = recorded
    reference = load["yolox"]
    (batch,) = fitting_reader
    assert batch["image"].shape == (4, 3, *size)
    compared = [index for index in range(4) if f"image_{index}" in reference]
    assert len(compared) == (4 if size[0] == size[1] else 3)
    for index in compared:
        for key in ("image", "im_shape", "scale_factor"):
            np.testing.assert_array_equal(batch[key][index], reference[f"{key}_{index}"])


def test_a_portrait_photo_fits_into_a_landscape_target(recorded, fitting_reader):
    """The reference fits the shorter side to the shorter target side and refuses this photo as too
    large; here both sides fit into the target.
    """
    size, load, photos = recorded
    if size != (64, 128):
        assert not [key for key in load["yolox"] if key.startswith("error_")]
        return
    assert str(load["yolox"]["error_3"]) == "refused: does not fit"
    (batch,) = fitting_reader
    photo = decode_image(photos.paths[3])
    assert photo.shape == (67, 40, 3)
    np.testing.assert_array_equal(batch["im_shape"][3], [64, 38])  # 64 / 67 of both sides
    expected = np.array([64 / 67, 38 / 40], np.float32)
    np.testing.assert_array_equal(batch["scale_factor"][3], expected)
    resized = cv2.resize(photo, (38, 64), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(batch["image"][3][:, :, :38], resized.transpose(2, 0, 1))
    np.testing.assert_array_equal(batch["image"][3][:, :, 38:], 114)


def test_deployment_with_padding_equals_the_eval_reader_to_the_bit(recorded, fitting_reader):
    _, _, photos = recorded
    (batch,) = fitting_reader
    preprocess = Preprocess(fitting_reader.preprocess_config())
    for index, path in enumerate(photos.paths):
        deployed = preprocess(decode_image(path))
        for key in ("image", "im_shape", "scale_factor"):
            np.testing.assert_array_equal(deployed[key], batch[key][index])


@pytest.fixture
def train_batch(golden, golden_fill):
    arrays = np.load(golden / "preprocess" / "train_batch.npz")
    samples = []
    for index in range(2):
        samples.append(
            {
                "im_file": f"{index}.png",
                "image": LazyImage(golden_fill.synth(*arrays[f"in_hwk_{index}"])),
                "gt_bbox": arrays[f"in_gt_bbox_{index}"],
                "gt_class": arrays[f"in_gt_class_{index}"],
                "gt_score": arrays[f"in_gt_score_{index}"],
                "scale_factor": np.ones(2, np.float32),
            }
        )
    return arrays, samples


def run_batch_half(samples, interp: int) -> dict:
    plan = Plan(
        [],
        [
            BatchRandomResize([64, 96], random_size=False, interp=interp),
            NormalizeBox(),
            PadBox(100),
            BboxXYXY2XYWH(),
            NormalizeImage(),
            Permute(),
            Gt2YoloTarget(np.reshape(ANCHORS, (-1, 2)), MASKS, num_classes=80),
        ],
    )
    samples = plan.run_batch(samples, Context(np.random.default_rng(0)))
    pixels = np.stack([sample["image"].render() for sample in samples])
    keys = ("gt_bbox", "gt_class", "gt_score", "im_shape", "scale_factor")
    fields = {key: np.stack([sample[key] for sample in samples]) for key in keys}
    return Collator(plan).finish(RawBatch(fields, pixels, {}, {}))


def test_train_batch_boxes_and_targets(train_batch):
    arrays, samples = train_batch
    batch = run_batch_half(samples, 1)
    assert "gt_class" not in batch
    assert "gt_score" not in batch
    for key in ("gt_bbox", "im_shape", "scale_factor", "target0", "target1", "target2"):
        np.testing.assert_allclose(batch[key], arrays[key], rtol=0, atol=2e-6)


@pytest.mark.parametrize("interp", range(5))
def test_train_batch_pixels(train_batch, interp):
    """The reference resizes float photos in training, here they are uint8 until the end: half a
    level of rounding, and overshoot beyond 0..255 is cut. In levels, over all five
    interpolations: at most 1 where the reference stays inside 0..255.
    """
    arrays, samples = train_batch
    ours = run_batch_half(samples, interp)["image"]
    mean = np.array([0.485, 0.456, 0.406])[None, :, None, None]
    to_levels = lambda image: (image * STD + mean) * 255  # noqa: E731
    difference = np.abs(
        to_levels(ours) - np.clip(to_levels(arrays[f"image_interp{interp}"]), 0, 255)
    )
    assert difference.max() <= 1.0
    assert difference.mean() <= 0.3
