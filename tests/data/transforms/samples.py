"""A sample without a file, for the tests of this folder."""

import numpy as np

from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.transform import Context

MARK = np.array([250, 5, 130], np.uint8)


def make_sample(height=90, width=120, boxes=((10, 20, 50, 60), (60, 5, 110, 80)), polygons=False):
    """Gray image whose boxes are painted in one color, so that pixels can vouch for boxes."""
    image = np.full((height, width, 3), 90, np.uint8)
    boxes_xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    for x1, y1, x2, y2 in boxes_xyxy.astype(int):
        image[y1:y2, x1:x2] = MARK
    count = len(boxes_xyxy)
    sample = {
        "im_file": "a.jpg",
        "image": LazyImage(image),
        "gt_bbox": boxes_xyxy,
        "gt_class": np.arange(count, dtype=np.int32)[:, None],
        "gt_score": np.ones((count, 1), np.float32),
        "is_crowd": np.zeros((count, 1), np.int32),
        "difficult": np.zeros((count, 1), np.int32),
    }
    if polygons:
        sample["gt_poly"] = [
            [np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])] for x1, y1, x2, y2 in boxes_xyxy
        ]
    return sample


def context_of(seed):
    return Context(np.random.default_rng(seed))
