"""DIoU-NMS against darknet's: every kind and threshold, kept entries exactly."""

import re

import numpy as np
import paddle
import pytest

from ppdet_lite.ops.boxes_np import iou_matrix
from ppdet_lite.ops.diou_nms import diou_nms
from ppdet_lite.ops.diou_nms_np import diou_measure, greedy_nms
from tests.golden import yolov4_set as reference

pytestmark = pytest.mark.usefixtures("golden_yolov4")


@pytest.fixture(scope="module")
def cases(golden_yolov4):
    """Arrays of the set; (measure as beta or None, threshold) -> kept entries [N, C]."""
    data = reference.arrays("nms/nms.npz")
    center, size = data["boxes_cxcywh"][:, :2], data["boxes_cxcywh"][:, 2:]
    data["boxes"] = np.concatenate([center - size / 2, center + size / 2], axis=1)
    found = {}
    for key in data:
        if match := re.fullmatch(r"keep_([a-z]+)_(\d+)(?:_b(\d+))?", key):
            kind, threshold, beta = match.groups()
            number = {"default": None, "greedy": 0.6}.get(kind, beta and _decimal(beta))
            found[number, _decimal(threshold)] = data[key]
    return data, found


def _decimal(digits: str) -> float:
    """045 is 0.45, 1 is 1."""
    return float(f"{digits[0]}.{digits[1:] or 0}")


def test_numpy(cases):
    data, found = cases
    assert len(found) >= 5
    for (beta, threshold), expected in found.items():
        measure = iou_matrix if beta is None else diou_measure(beta)
        kept = greedy_nms(data["boxes"], data["prob"], threshold, measure)
        np.testing.assert_array_equal(kept, expected)


def test_paddle(cases):
    data, found = cases
    boxes = paddle.to_tensor(data["boxes"].astype(np.float32)).unsqueeze(0)
    scores = paddle.to_tensor(data["prob"].T.astype(np.float32)).unsqueeze(0)
    for (beta, threshold), expected in found.items():
        if beta is None:
            continue
        bbox, count, index = diou_nms(
            boxes,
            scores,
            score_threshold=0.0,
            nms_threshold=threshold,
            beta=beta,
            nms_top_k=-1,
            keep_top_k=-1,
        )
        kept = np.zeros(expected.shape, bool)
        kept[index.numpy().ravel(), bbox.numpy()[:, 0].astype(int)] = True
        np.testing.assert_array_equal(kept, expected)
        assert count.numpy().tolist() == [expected.sum()]
        assert (np.diff(bbox.numpy()[:, 1]) < 0).all()
