"""A small data set on disk and in memory, and readers of it, for the tests of this folder."""

import cv2
import numpy as np

from ppdet_lite.data.reader.readers import EvalReader, TrainReader
from ppdet_lite.data.transforms.box_formats import BboxXYXY2XYWH, NormalizeBox, PadBox
from ppdet_lite.data.transforms.crop import RandomCrop
from ppdet_lite.data.transforms.decode import Decode
from ppdet_lite.data.transforms.distort import RandomDistort
from ppdet_lite.data.transforms.expand_flip import RandomExpand, RandomFlip
from ppdet_lite.data.transforms.mixup import Mixup
from ppdet_lite.data.transforms.normalize import NormalizeImage, Permute
from ppdet_lite.data.transforms.resize import BatchRandomResize, Resize
from ppdet_lite.data.transforms.yolo_targets import Gt2YoloTarget

ANCHORS = [[4, 4], [8, 8], [12, 10], [20, 24], [30, 20], [40, 40]]
MASKS = [[3, 4, 5], [0, 1, 2]]


class SmallDataset:
    """Records over image files: noise images of different sizes, two objects each; every
    fifth image has none."""

    name = "small"
    class_names = ["a", "b", "c"]

    def __init__(self, folder, count=13):
        self.paths = []
        rng = np.random.default_rng(7)
        for index in range(count):
            height, width = int(rng.integers(40, 70)), int(rng.integers(40, 70))
            coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            path = folder / f"{index:02}.jpg"
            cv2.imwrite(str(path), cv2.resize(coarse, (width, height)))
            self.paths.append((str(path), height, width))

    def __len__(self):
        return len(self.paths)

    def image_path(self, index):
        return self.paths[index][0]

    def record(self, index):
        path, height, width = self.paths[index]
        boxes = [] if index % 5 == 4 else [(5, 5, 30, 25), (20, 10, 38, 36)]
        count = len(boxes)
        return {
            "im_file": path,
            "im_id": np.array([100 + index]),
            "h": height,
            "w": width,
            "gt_bbox": np.array(boxes, np.float32).reshape(-1, 4),
            "gt_class": np.array([[index % 3], [2]], np.int32)[:count],
            "gt_score": np.ones((count, 1), np.float32),
            "is_crowd": np.zeros((count, 1), np.int32),
        }


def train_reader(dataset, extra_sample=(), extra_batch=(), **settings):
    """The PP-YOLOv2 recipe at a small scale."""
    defaults = {
        "batch_size": 3,
        "shuffle": True,
        "drop_last": True,
        "mixup_epoch": 10,
        "seed": 5,
        "num_classes": 3,
    }
    return TrainReader(
        [
            Decode(),
            Mixup(),
            RandomDistort(),
            RandomExpand(fill_value=[123.675, 116.28, 103.53]),
            RandomCrop(),
            RandomFlip(),
            *extra_sample,
        ],
        [
            BatchRandomResize([32, 64, 96], random_interp=True),
            NormalizeBox(),
            PadBox(6),
            BboxXYXY2XYWH(),
            *extra_batch,
            NormalizeImage(),
            Permute(),
            Gt2YoloTarget(ANCHORS, MASKS, num_classes=3),
        ],
        dataset=dataset,
        **{**defaults, **settings},
    )


def eval_reader(dataset, **settings):
    steps = [Decode(), Resize([48, 64], interp=2), NormalizeImage(), Permute()]
    return EvalReader(steps, dataset=dataset, **{"batch_size": 4, **settings})


def assert_same_batches(first, second):
    first, second = list(first), list(second)
    assert len(first) == len(second)
    for one, other in zip(first, second):
        assert list(one) == list(other)
        for key, value in one.items():
            assert type(value) is type(other[key])
            assert len(value) == len(other[key])
            for a, b in zip(value, other[key]):  # rows of an array, or entries of a list
                np.testing.assert_array_equal(a, b, err_msg=key)
