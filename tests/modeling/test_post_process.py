"""Decoding and the NMS classes on small inputs worked out by hand."""

import math

import numpy as np
import paddle
import pytest

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.post_process.box_decoders import BBoxPostProcess, YOLOBox
from ppdet_lite.modeling.post_process.nms_layers import MatrixNMS, MultiClassNMS

LEVEL = AnchorLevel(anchors=((16, 8),), stride=32, scale_x_y=1.0)


def _sigmoid(x):
    return 1 / (1 + math.exp(-x))


def _decode(raw, level=LEVEL, im_shape=(32, 64), scale=(1.0, 1.0), factor=None, **arguments):
    raw = paddle.to_tensor(np.array(raw, dtype=np.float32))
    decode = YOLOBox(num_classes=raw.shape[1] - 5 - (factor is not None), **arguments)
    shape = paddle.to_tensor([im_shape], dtype="float32")
    level = level._replace(iou_aware_factor=factor)
    boxes, scores = decode([raw], [level], shape, paddle.to_tensor([scale]))
    return boxes.numpy()[0], scores.numpy()[0]


def _raw(right_cell, channels=6):
    """A 32 x 64 image of two cells; the left one has nothing to say."""
    raw = np.zeros((1, channels, 1, 2))
    raw[0, -2, 0, 0] = -30  # objectness
    raw[0, :, 0, 1] = right_cell
    return raw


def test_decode_by_hand():
    boxes, scores = _decode(_raw([0, 0, math.log(2), 0, 1.0, 2.0]), scale=(2.0, 0.5))
    # the right cell: center (48, 16), size (32, 8) in the input; the original is 16 x 128
    np.testing.assert_allclose(boxes[1], [64, 6, 127, 10], rtol=1e-5)  # 128 is cut to 127
    np.testing.assert_allclose(scores[:, 1], [_sigmoid(1) * _sigmoid(2)], rtol=1e-5)
    np.testing.assert_array_equal(boxes[0], 0)
    np.testing.assert_array_equal(scores[:, 0], 0)


def test_clip_can_be_turned_off():
    boxes, _ = _decode(_raw([0, 0, math.log(4), 0, 1.0, 2.0]), clip_bbox=False)
    np.testing.assert_allclose(boxes[1], [16, 12, 80, 20], rtol=1e-5)


def test_grid_sensitivity():
    level = LEVEL._replace(scale_x_y=1.2)
    boxes, _ = _decode(_raw([1.0, 0, 0, 0, 1.0, 2.0]), level=level)
    center = (1 + 1.2 * _sigmoid(1) - 0.1) * 32
    np.testing.assert_allclose(boxes[1, 0], center - 8, rtol=1e-5)


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0])
def test_iou_aware_score(factor):
    raw = _raw([0.5, 0, 0, 0, 0, 1.0, 2.0], channels=7)  # IoU logit first
    _, scores = _decode(raw, factor=factor)
    expected = _sigmoid(1) ** (1 - factor) * _sigmoid(0.5) ** factor * _sigmoid(2)
    np.testing.assert_allclose(scores[0, 1], expected, rtol=1e-5)


def test_padding_is_no_part_of_the_image():
    """An image of 20 x 128 brought to 10 x 64, in the upper part of an input of 32 x 64."""
    padded = {"im_shape": (10, 64), "scale": (0.5, 0.5)}
    boxes, _ = _decode(_raw([0, 0, 0, math.log(3), 1.0, 2.0]), **padded)
    # center (48, 16), size (16, 24) in the input: (96, 32) and (32, 48) in the image
    np.testing.assert_allclose(boxes[1], [80, 8, 112, 19], rtol=1e-5)
    boxes, _ = _decode(_raw([0, 0, 0, math.log(3), 1.0, 2.0]), clip_bbox=False, **padded)
    np.testing.assert_allclose(boxes[1], [80, 8, 112, 56], rtol=1e-5)


def test_original_size_is_rounded():
    """Truncation would lose a pixel wherever the scale is not exact in float32."""
    sizes = np.arange(1, 2000, dtype=np.float32)
    scale = np.float32(64) / sizes
    assert (np.floor(np.float32(64) / scale) != sizes).any()
    count = len(sizes)
    raw = paddle.to_tensor(_raw([0, 0, 5, 5, 9, 9]).astype(np.float32)).expand([count, 6, 1, 2])
    shape = paddle.to_tensor([[32.0, 64.0]]).expand([count, 2])
    factors = paddle.to_tensor(np.stack([scale, scale], axis=1))
    boxes, _ = YOLOBox(num_classes=1)([raw], [LEVEL], shape, factors)
    np.testing.assert_allclose(boxes.numpy()[:, 1, 2], sizes - 1, atol=1e-3)


@pytest.mark.parametrize(
    "arguments, text",
    [
        (
            {"scale_x_y": 1.05},
            r"YOLOBox.scale_x_y is 1.05 but YOLOv3Head.scale_x_y \(or YOLOv3Loss.scale_x_y\) is 1",
        ),
        (
            {"downsample_ratio": 16},
            r"YOLOBox.downsample_ratio is 16 but YOLOv3Head.strides is 32: the stride of the first",
        ),
    ],
)
def test_facts_that_differ_from_the_head(arguments, text):
    with pytest.raises(ConfigError, match=text):
        YOLOBox(**arguments).check_levels([LEVEL])


def test_facts_that_agree_with_the_head():
    YOLOBox(scale_x_y=1.0, downsample_ratio=32).check_levels([LEVEL])
    YOLOBox(scale_x_y=[1.0]).check_levels([LEVEL])
    YOLOBox().check_levels([LEVEL])


def test_post_process_returns_rows_and_counts():
    post_process = BBoxPostProcess(1, YOLOBox(1), MultiClassNMS(score_threshold=0.1))
    raw = np.concatenate([_raw([0, 0, 0, 0, 3.0, 3.0]), _raw([0, 0, 0, 0, -30, 3.0])])
    bbox, counts = post_process(
        [paddle.to_tensor(raw.astype(np.float32))],
        [LEVEL],
        paddle.to_tensor([[32.0, 64]] * 2),
        paddle.ones([2, 2]),
    )
    np.testing.assert_array_equal(counts.numpy(), [1, 0])
    expected = [[0, _sigmoid(3) ** 2, 40, 12, 56, 20]]
    np.testing.assert_allclose(bbox.numpy(), expected, rtol=1e-5)


def test_number_of_classes_must_agree():
    with pytest.raises(ConfigError, match="num_classes of the decoder is 3, that of BBoxPostProc"):
        BBoxPostProcess(2, YOLOBox(3))


def test_matrix_nms_class_passes_its_arguments():
    boxes = paddle.to_tensor([[[0.0, 0, 9, 9], [20, 20, 29, 29]]])
    scores = paddle.to_tensor([[[0.9, 0.2]], [[0.3, 0.8]]]).transpose([1, 0, 2])
    bbox, count, _ = MatrixNMS(score_threshold=0.5, background_label=0)(boxes, scores)
    np.testing.assert_allclose(bbox.numpy(), [[1, 0.8, 20, 20, 29, 29]], rtol=1e-6)
    assert count.tolist() == [1]
    bbox, _, _ = MatrixNMS(score_threshold=0.1, keep_top_k=3)(boxes, scores)
    np.testing.assert_allclose(bbox.numpy()[:, 1], [0.9, 0.8, 0.3], rtol=1e-6)


@pytest.mark.parametrize(
    "cls, key, value, allowed",
    [
        (YOLOBox, "conf_thresh", 2, "0 to 1"),
        (MatrixNMS, "post_threshold", -0.1, "0 to 1"),
        (MatrixNMS, "keep_top_k", 0, "1 or more, or -1 for no limit"),
        (MultiClassNMS, "nms_top_k", -2, "1 or more, or -1 for no limit"),
        (MultiClassNMS, "nms_threshold", 1.5, "0 to 1"),
    ],
)
def test_limits_that_would_hide_everything_are_refused(cls, key, value, allowed):
    with pytest.raises(ConfigError, match=f"{key}: found {value}, allowed: {allowed}"):
        create(cls, Config({cls.__name__: {key: value}}))
