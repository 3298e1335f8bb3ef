"""NMS against the reference: rows, order and index exactly, scores to 1e-5."""

import numpy as np
import paddle
import pytest

from ppdet_lite.ops import nms

CASES = [
    "matrix_ppyolov2",
    "matrix_ppyolov2_all",
    "matrix_gaussian",
    "matrix_topk50",
    "matrix_keepall",
    "multiclass_tiny",
    "multiclass_yolov3",
    "multiclass_yolox",
    "multiclass_topk50",
]
WHOLE_NUMBERS = ("nms_top_k", "keep_top_k", "background_label")


@pytest.mark.parametrize("scores", ["full", "half", "empty"])
@pytest.mark.parametrize("case", CASES)
def test_nms(case, scores, golden):
    function = nms.matrix_nms if case.startswith("matrix") else nms.multiclass_nms
    with np.load(golden / "nms" / f"{case}.npz") as data:
        arguments = {key[4:]: data[key].item() for key in data.files if key.startswith("arg_")}
        for key in WHOLE_NUMBERS:
            if key in arguments:
                arguments[key] = int(arguments[key])
        boxes, candidates = data["boxes"], data[f"scores_{scores}"]
        expected = [data[f"{key}_{scores}"] for key in ("bbox", "bbox_num", "index")]
    outputs = function(paddle.to_tensor(boxes), paddle.to_tensor(candidates), **arguments)
    detections, counts, index = (output.numpy() for output in outputs)
    assert detections.shape == expected[0].shape
    np.testing.assert_array_equal(counts, expected[1])
    np.testing.assert_array_equal(index, expected[2])
    np.testing.assert_array_equal(detections[:, 0], expected[0][:, 0])
    np.testing.assert_allclose(detections[:, 1], expected[0][:, 1], atol=1e-5, rtol=0)
    np.testing.assert_array_equal(detections[:, 2:], expected[0][:, 2:])
