"""Transform lists and settings of a reader, on images of one pixel, one row, gray and 16 bits."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ppdet_lite.data.reader.readers import EvalReader, TrainReader
from ppdet_lite.data.sources.dataset import Dataset
from tests.fuzz.harness import Trial
from tests.fuzz.mutations import VALUES, damage_value

ANCHORS = [[10, 13], [16, 30], [33, 23], [30, 61], [62, 45], [59, 119], [116, 90], [156, 198]]
ANCHORS += [[373, 326]]
TARGET = {"anchors": ANCHORS, "anchor_masks": [[6, 7, 8], [3, 4, 5], [0, 1, 2]], "num_classes": 3}
DRAW = [0.5, 1.5, 0.5]
SETTINGS: dict[str, dict[str, Any]] = {
    "Decode": {"max_pixels": 10**6, "reduced": True},
    "Mixup": {"alpha": 1.5, "beta": 1.5},
    "RandomDistort": {"hue": [-18, 18, 0.5], "saturation": DRAW, "contrast": DRAW,
                      "brightness": DRAW, "random_apply": False, "count": 4,
                      "random_channel": True, "prob": 0.9},
    "RandomExpand": {"ratio": 3.0, "prob": 0.9, "fill_value": [123.7, 116.3, 103.5]},
    "RandomCrop": {"aspect_ratio": [0.5, 2.0], "thresholds": [0.0, 0.3, 0.9], "scaling": [0.3, 1.0],
                   "num_attempts": 20, "allow_no_crop": True, "cover_all_box": False,
                   "is_mask_crop": True, "ioumode": "iof"},
    "RandomFlip": {"prob": 0.5},
    "Mosaic": {"prob": 0.9, "input_dim": [64, 96], "degrees": [-10, 10], "translate": [-0.1, 0.1],
               "scale": [0.1, 2], "shear": [-2, 2], "enable_mixup": True, "mixup_prob": 0.9,
               "mixup_scale": [0.5, 1.5]},
    "AugmentHSV": {"fraction": 0.5, "is_bgr": True, "hgain": 5, "sgain": 30, "vgain": 30},
    "PadResize": {"target_size": [64, 96], "fill_value": 114},
    "Resize": {"target_size": [64, 96], "keep_ratio": False, "interp": 2},
    "Pad": {"size": [128, 128], "size_divisor": 32, "pad_mode": 0, "offsets": None,
            "fill_value": 0},
    "BatchRandomResize": {"target_size": [32, 64, [96, 64]], "interp": 1, "random_size": True,
                          "random_interp": True},
    "NormalizeBox": {},
    "PadBox": {"num_max_boxes": 12},
    "BboxXYXY2XYWH": {},
    "NormalizeImage": {"mean": [0.5, 0.4, 0.4], "std": [0.2, 0.2, 0.2], "is_scale": True,
                       "norm_type": "mean_std"},
    "Permute": {},
    "Gt2YoloTarget": {**TARGET, "downsample_ratios": [32, 16, 8], "iou_thresh": 0.7},
}  # fmt: skip
RECIPES = [
    (
        "Decode Mixup RandomDistort RandomExpand RandomCrop RandomFlip",
        "BatchRandomResize NormalizeBox PadBox BboxXYXY2XYWH NormalizeImage Permute Gt2YoloTarget",
    ),
    ("Decode Mosaic AugmentHSV RandomFlip PadResize", "PadBox NormalizeImage Permute"),
    ("Decode Resize Pad NormalizeImage Permute", "PadBox"),
]
READER: dict[str, Any] = {
    "batch_size": 3, "shuffle": True, "drop_last": False, "drop_empty": False, "num_classes": 3,
    "collate_batch": True, "mixup_epoch": 5, "mosaic_epoch": 5, "max_bad_fraction": 0.5,
    "size_per_rank": False, "seed": 1, "max_decode_seconds": 30, "cache": None, "worker_num": 0,
}  # fmt: skip
NASTY = [*VALUES, [2, 1], [0.5, 0.5], [-1, 1], [0, 0], 3, 33, 1e-9, 1e6, 10**9, [64, 0], [1, 1e9]]


class Samples(Dataset):
    """A pixel with one box, a row of 16 bits without, a photo with many and their outlines."""

    def __init__(self, folder: Path):
        super().__init__("samples", ["a", "b", "c"])
        self.folder = folder
        boxes = [(x, y, x + 9, y + 2 + x % 7) for x in range(0, 50, 9) for y in range(0, 30, 8)]
        self.rows = [("pixel.png", 1, 1, [(0, 0, 1, 1)]), ("row.png", 1, 50, []),
                     ("photo.jpg", 40, 60, boxes)]  # fmt: skip

    def __len__(self) -> int:
        return len(self.rows)

    def record(self, index: int) -> dict[str, Any]:
        name, height, width, boxes = self.rows[index]
        corners = np.array(boxes, np.float32).reshape(-1, 4)
        ones = np.ones((len(boxes), 1))
        return {
            "im_file": str(self.folder / name),
            "im_id": np.array([index]),
            "h": height,
            "w": width,
            "gt_bbox": corners,
            "gt_class": ones.astype(np.int32),
            "gt_score": ones.astype(np.float32),
            "is_crowd": 0 * ones.astype(np.int32),
            "gt_poly": [[np.array([[a, b], [c, b], [c, d]])] for a, b, c, d in corners],
        }


def prepare(folder: Path) -> None:
    cv2.imwrite(str(folder / "pixel.png"), np.full((1, 1), 200, np.uint8))
    row = np.linspace(0, 65535, 50).astype(np.uint16)[None]
    cv2.imwrite(str(folder / "row.png"), row)
    photo = np.random.default_rng(0).integers(0, 256, (10, 15, 3), np.uint8)
    cv2.imwrite(str(folder / "photo.jpg"), cv2.resize(photo, (60, 40)))


def trial(rnd: random.Random, folder: Path) -> Trial:
    recipe = rnd.choice(RECIPES)
    lists = [[{n: copy.deepcopy(SETTINGS[n])} for n in names.split()] for names in recipe]
    reader, labels = dict(READER), []
    for kind in rnd.choices(["order", "settings", "reader"], [2, 5, 1], k=rnd.choice([1, 1, 2])):
        if kind == "order":
            labels.append(_reorder(rnd, lists))
        elif kind == "settings":
            entry = rnd.choice([e for entries in lists for e in entries] or [{"Decode": {}}])
            ((name, settings),) = entry.items()
            entry[name], label = damage_value(rnd, settings, NASTY)
            labels.append(f"{name}: {label}")
        else:
            key = rnd.choice(list(reader))
            reader[key] = copy.deepcopy(rnd.choice(NASTY))
            labels.append(f"{key}: {reader[key]!r}"[:60])
    cls = rnd.choice([TrainReader, TrainReader, EvalReader])
    names = (cls.__name__, *READER, "sample_transforms", "batch_transforms", str(folder), "Gt2")

    def run() -> None:
        made = cls(*copy.deepcopy(lists), **reader, dataset=Samples(folder))
        for batch in made.batches(0):
            check(batch, made)

    return Trial("; ".join(labels), run, names)


def _reorder(rnd: random.Random, lists: list[list[Any]]) -> str:
    """Shuffles, removes, doubles, adds or moves entries."""
    kind, entries = rnd.choice(["shuffle", "remove", "double", "add", "move"]), rnd.choice(lists)
    if kind == "shuffle":
        rnd.shuffle(entries)
    elif kind == "add":
        name = rnd.choice(list(SETTINGS))
        entries.insert(rnd.randrange(len(entries) + 1), {name: copy.deepcopy(SETTINGS[name])})
    elif entries:
        entry = entries.pop(rnd.randrange(len(entries)))
        if kind == "double":
            entries += [entry, copy.deepcopy(entry)]
        elif kind == "move":
            target = rnd.choice(lists)
            target.insert(rnd.randrange(len(target) + 1), entry)
    return f"{kind} {[next(iter(entry)) for entry in entries]}"


def check(batch: dict[str, Any], reader: Any) -> None:
    """A batch that a training can use."""
    images = batch["image"]
    count, channels, height, width = images.shape
    assert images.dtype == np.float32 and channels == 3 and np.isfinite(images).all()
    for key, value in batch.items():
        assert len(value) == count, (key, len(value))
        for part in value if key != "im_file" else ():
            assert np.isfinite(part).all(), key
    if "gt_bbox" not in batch:
        return
    steps = [entry.step_name for entry in reader.plan.entries]
    size = [1, 1] if "NormalizeBox" in steps else [width, height]
    rows = [len(boxes) for boxes in batch["gt_bbox"]]
    for key in ("gt_class", "gt_score"):
        assert key not in batch or [len(part) for part in batch[key]] == rows, key
    for boxes in batch["gt_bbox"]:
        assert boxes.dtype == np.float32
        corners = boxes.reshape(-1, 2, 2)
        if "BboxXYXY2XYWH" in steps:
            corners = np.stack(
                [corners[:, 0] - corners[:, 1] / 2, corners[:, 0] + corners[:, 1] / 2], 1
            )
        assert (corners[:, 1] >= corners[:, 0] - 1e-3).all(), "inverted"
        assert (corners >= -0.01).all() and (corners <= np.array(size) * 1.001 + 0.01).all(), (
            "outside"
        )
