"""What the parts without a network compute: reader, schedules, optimizer, average, NMS."""

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import paddle
from comparison import Tolerance, summary

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.ops.nms import matrix_nms, multiclass_nms
from ppdet_lite.train.ema import KINDS, ModelEMA
from ppdet_lite.train.optimizer import OptimizerBuilder
from ppdet_lite.train.schedule import LearningRate

PART_TOLERANCES = {
    "schedules": [Tolerance("*", relative=1e-6)],
    "training": [Tolerance("ema_*_decay", relative=1e-6), Tolerance("*", relative=2e-6)],
    "nms": [Tolerance("*.scores", absolute=1e-5)],
}


class Reader(NamedTuple):
    """A shipped configuration whose readers are recorded, and what makes them small.

    level: what one of the 256 levels of a pixel is in a batch.
    """

    config: str
    level: float
    overrides: tuple

    def tolerances(self) -> list:
        """Another OpenCV may round to the next level here and there."""
        return [
            Tolerance("*shape"),
            Tolerance("*.image.samples", absolute=2.5 * self.level),
            Tolerance("*.image.projection", absolute=3 * self.level),
            Tolerance("*.image.*", absolute=0.35 * self.level),
            Tolerance("*", absolute=1e-5, relative=1e-5),
        ]


# One line for each kind of reader.
READERS = {
    "reader_ppyolov2": Reader(
        "ppyolo/ppyolov2_r50vd_dcn_365e_coco",
        1 / 255 / 0.225,
        (
            "TrainReader.batch_transforms.BatchRandomResize.target_size=[64,96]",
            "EvalReader.sample_transforms.Resize.target_size=[64,96]",
        ),
    ),
    "reader_yolox": Reader(
        "yolox/yolox_s_300e_coco",
        1.0,
        (
            "TrainReader.sample_transforms.Mosaic.input_dim=[64,96]",
            "TrainReader.sample_transforms.PadResize.target_size=[64,96]",
            "EvalReader.sample_transforms.Resize.target_size=[64,96]",
            "EvalReader.sample_transforms.Pad.size=[64,96]",
        ),
    ),
}
PHOTOS = ((90, 120), (120, 90), (75, 75), (60, 140), (130, 101), (97, 64))
READER_SEED, BATCHES = 20260101, 2


def photo(height: int, width: int, number: int) -> np.ndarray:
    """A folded ramp, uint8 [H, W, 3]: whole numbers only, the same on every machine."""
    y, x, channel = np.ogrid[0:height, 0:width, 0:3]
    ramp = ((3 + number) * x + 2 * y + 70 * channel + (x * y) // 17) % 510
    return np.where(ramp < 256, ramp, 510 - ramp).astype(np.uint8)


def write_photos(folder: Path) -> Path:
    """A COCO data set of PHOTOS, lossless; returns its annotation file."""
    images, annotations = [], []
    for number, (height, width) in enumerate(PHOTOS):
        name = f"{number}.png"
        cv2.imwrite(str(folder / name), photo(height, width, number))
        images.append({"id": number + 1, "file_name": name, "height": height, "width": width})
        for slot in range(number % 3 + 1):
            x, y = 4 + 17 * slot, 6 + 11 * slot
            box = [x, y, width // 2 - 3 * slot, height // 3 + slot]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": slot + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i + 1, "name": name} for i, name in enumerate("abc")]
    path = folder / "annotations.json"
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def reader_reference(reader: Reader, repo, overrides=()) -> dict:
    """The first training batches of one epoch, and one evaluation batch."""
    with tempfile.TemporaryDirectory() as folder:
        annotations = write_photos(Path(folder))
        data = f"dataset_dir: {folder}, image_dir: '', anno_path: {annotations.name}"
        settings = ["num_classes=3", "worker_num=0"]
        for part in ("Train", "Eval"):
            settings.append(f"{part}Dataset={{name: COCODataSet, {data}}}")
            settings.append(f"{part}Reader.batch_size=3")
        path = repo / "configs" / f"{reader.config}.yml"
        cfg = load_config(path, [*settings, *reader.overrides, *overrides])
        batches = create("TrainReader", cfg).bound(seed=READER_SEED).batches(epoch=1)
        record = {f"train{i}": batch_record(next(batches)) for i in range(BATCHES)}
        batches.close()
        record["evaluation"] = batch_record(next(iter(create("EvalReader", cfg))))
    return record


def batch_record(batch: dict) -> dict:
    """Pixel statistics per image and channel; every other array as it is, targets in short."""
    record = {}
    for key, value in sorted(batch.items()):
        if key == "im_file":
            record[key] = " ".join(Path(name).name for name in value)
        elif key == "image":
            flat = value.reshape(*value.shape[:2], -1).astype(np.float64)
            record[key] = summary(value)
            record[key]["means"], record[key]["stds"] = flat.mean(2).ravel(), flat.std(2).ravel()
        elif key.startswith("target"):
            record[key] = summary(value, samples=0)
            record[key]["positives"] = [int(np.count_nonzero(value[:, :, 5]))]
        elif isinstance(value, list):
            record[key] = {str(i): np.asarray(entry).ravel() for i, entry in enumerate(value)}
        else:  # padding left out
            record[key] = value.ravel()[np.flatnonzero(value)]
    return record


SCHEDULES = {
    "ppyolov2": "ppyolo/ppyolov2_r50vd_dcn_365e_coco",
    "ppyolo_1x": "ppyolo/ppyolo_r50vd_dcn_1x_coco",
    "ppyolo_2x": "ppyolo/ppyolo_r50vd_dcn_2x_coco",
    "ppyolo_voc": "ppyolo/ppyolo_r50vd_dcn_voc",
    "ppyolo_mbv3": "ppyolo/ppyolo_mbv3_large_coco",
    "ppyolo_tiny": "ppyolo/ppyolo_tiny_650e_coco",
    "yolov3": "yolov3/yolov3_darknet53_270e_coco",
    "yolov3_cosine": "yolov3/yolov3_darknet53_original_320e_coco_1p",
    "yolox": "yolox/yolox_s_300e_coco",
    "demo": "ppyolo/ppyolov2_r18vd_dcn_demo",
}
STEPS_PER_EPOCH, POINTS = 100, 24


def schedules_reference(repo, overrides=()) -> dict:
    """The learning rate at evenly spread iterations and at both sides of its corners."""
    record = {}
    for name, config in SCHEDULES.items():
        cfg = load_config(repo / "configs" / f"{config}.yml", overrides)
        record[name] = rates(create("LearningRate", cfg), cfg.epoch)
    return record


def rates(curve: LearningRate, epochs: int) -> list:
    total = epochs * STEPS_PER_EPOCH
    at = set(np.linspace(0, total - 1, POINTS).astype(int).tolist())
    corners = [m * STEPS_PER_EPOCH for m in getattr(curve.decay, "milestones", ())]
    corners.append(curve.warmup_steps(STEPS_PER_EPOCH))
    at |= {max(0, corner + side) for corner in corners for side in (-1, 0)}
    return [curve.at(i, STEPS_PER_EPOCH, epochs) for i in sorted(at)]


def training_reference(repo, decay=0.9998, factor=5e-4) -> dict:
    """Averages of a moving weight, and steps of the optimizer with clipping and weight decay."""
    record = {}
    for kind in KINDS:
        layer = paddle.nn.Linear(2, 1)
        average, seen = ModelEMA(layer, decay, kind), []
        for step in range(1, 41):
            layer.weight.set_value(np.array([[step / 10], [1 / step]], np.float32))
            average.update(layer)
            if step in (1, 2, 3, 10, 40):
                seen += average.averaged(layer)["weight"].numpy().ravel().tolist()
        record[f"ema_{kind}"] = seen
        record[f"ema_{kind}_decay"] = [average.decay_at(10**power) for power in range(7)]
    # Steps that are taken whole, and steps whose gradient is cut to a norm of 1.
    for name, nesterov in (("momentum", False), ("nesterov", True)):
        layer = paddle.nn.Linear(2, 1, bias_attr=False)
        layer.weight.set_value(np.array([[40.0], [-60.0]], np.float32))
        settings = {"type": "Momentum", "momentum": 0.9, "use_nesterov": nesterov}
        builder = OptimizerBuilder(1.0, None, {"type": "L2", "factor": factor}, settings)
        optimizer, seen = builder(0.1, layer.parameters()), []
        for step in range(1, 5):
            pull = paddle.to_tensor([[0.3 * step], [-0.2 * step]], dtype="float32")
            (layer.weight * pull).sum().backward()
            optimizer.step()
            optimizer.clear_grad()
            seen += layer.weight.numpy().ravel().tolist()
        record[name] = seen
    return record


NMS_CASES = {
    "matrix": (matrix_nms, {"post_threshold": 0.3, "nms_top_k": 45, "keep_top_k": -1}),
    "matrix_gaussian": (
        matrix_nms,
        {"post_threshold": 0.2, "nms_top_k": -1, "keep_top_k": 80, "gaussian_sigma": 2.0},
    ),
    "multiclass": (multiclass_nms, {"nms_threshold": 0.45, "nms_top_k": 100, "keep_top_k": -1}),
}


def nms_reference(repo, **changes) -> dict:
    """Which of crowded boxes Matrix NMS and greedy NMS keep, their classes and scores, in order."""
    rng = np.random.default_rng(7)
    centers = rng.uniform(20, 180, (2, 15, 2))[:, rng.integers(0, 15, 120)]
    centers = centers + rng.normal(0, 6, (2, 120, 2))
    sizes = np.exp(rng.normal(3.4, 0.3, (2, 120, 2)))
    boxes = np.concatenate([centers - sizes / 2, centers + sizes / 2], 2).astype(np.float32)
    scores = ((rng.permutation(720) + 0.5) / 720).reshape(2, 3, 120) ** 2  # no two are equal
    inputs = paddle.to_tensor(boxes), paddle.to_tensor(scores.astype(np.float32))
    record = {}
    for name, (function, arguments) in NMS_CASES.items():
        arguments = (
            dict(arguments, use_gaussian=True) if "gaussian_sigma" in arguments else arguments
        )
        known = {key: value for key, value in changes.items() if key in arguments}
        found, counts, index = function(*inputs, score_threshold=0.01, **{**arguments, **known})
        found = found.numpy().astype(np.float64)
        record[name] = {
            "count": counts.numpy().tolist(),
            "index": index.numpy().ravel().tolist(),
            "class": found[:, 0].astype(int).tolist(),
            "scores": found[:, 1].tolist(),
            "corner_sums": found[:, 2:].sum(0).round(2).tolist(),
        }
    return record
