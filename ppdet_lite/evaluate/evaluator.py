"""Evaluation: run the model over the evaluation data and hand its detections to the metric.

With several processes each takes its share of the images (in PaddleDetection the first does all
and the others wait), and the metric is computed from the gathered detections. Only detections are
kept, never images or feature maps.
"""

import json
import math
import os
import time
from typing import Optional

import numpy as np
import paddle.distributed as dist

from ppdet_lite.core.errors import ConfigError, DataError, UserError
from ppdet_lite.core.workspace import create
from ppdet_lite.device.ranks import current_ranks
from ppdet_lite.device.select import normalizes_on_device
from ppdet_lite.modeling.batch_tensors import PIXEL_MAP, as_tensors
from ppdet_lite.modeling.modes import evaluation_mode
from ppdet_lite.utils.logger import get_logger, progress_bar

MODEL_KEYS = ("image", PIXEL_MAP, "im_id", "im_shape", "scale_factor")
"""Arrays of an evaluation batch that a detector takes."""

RESULTS_FILE = "bbox.json"
_SECONDS_BETWEEN_LINES = 20.0


def build_metric(cfg, dataset, classwise: bool = False):
    """The metric that `cfg.metric` names, for the ground truth of `dataset`."""
    name = str(cfg.get("metric", "COCO")).upper()
    if name == "COCO":
        from ppdet_lite.metrics.coco import COCOMetric  # pycocotools, which export can do without

        return COCOMetric(
            dataset,
            dataset.category_ids,
            dataset.class_names,
            classwise=classwise,
            bias=int(cfg.get("bias", 0)),
        )
    if name == "VOC":
        from ppdet_lite.metrics.voc import VOCMetric

        return VOCMetric(
            dataset,
            dataset.class_names,
            map_type=cfg.get("map_type", "11point"),
            classwise=classwise,
        )
    raise ConfigError(f"metric: found '{cfg.metric}', allowed: COCO, VOC")


class Evaluator:
    """Evaluates models on one data set.

    Args:
        cfg: the configuration; `EvalReader`, `EvalDataset`, `metric`, `bias`, `map_type`,
            `classwise` and `output_eval` are used.
        dataset: in place of `EvalDataset`.
        reader: in place of `EvalReader`; it brings its data set along.
        classwise: a table with one line per class; None takes `cfg.classwise`.
        output_eval: folder for the detections as COCO results (`bbox.json`); None takes
            `cfg.output_eval`, and without that no file is written.

    Raises:
        DataError: there is no image to evaluate.
    """

    def __init__(
        self,
        cfg,
        dataset=None,
        reader=None,
        classwise: Optional[bool] = None,
        output_eval: Optional[str] = None,
    ):
        if reader is None:
            reader = create("EvalReader", cfg)
            if dataset is not None:
                reader = reader(dataset)
        rank, self.world_size = current_ranks()
        self.reader = reader.bound(
            rank=rank, world_size=self.world_size, raw_pixels=normalizes_on_device()
        )
        self.dataset = reader.dataset
        if len(self.dataset) == 0:
            raise DataError(f"{self.dataset.name}: no images to evaluate")
        self.classwise = bool(cfg.get("classwise", False)) if classwise is None else classwise
        self.output_eval = output_eval or cfg.get("output_eval")
        self.metric = build_metric(cfg, self.dataset, self.classwise)

    @property
    def primary(self) -> tuple[str, float]:
        """Name and value of the number that decides which model is best, after `run`."""
        return self.metric.primary

    def run(self, model) -> dict[str, float]:
        """Detects on all images and computes the metric; the same numbers on every rank.

        Raises:
            UserError: an image that cannot be read, or `output_eval` that cannot be written.
        """
        if self.output_eval:
            try:
                os.makedirs(self.output_eval, exist_ok=True)  # now, not after an hour of work
            except OSError as error:
                raise UserError(
                    f"{self.output_eval}: cannot be written ({error.strerror}); choose another "
                    "folder for the detections with -o output_eval=FOLDER or --output_eval FOLDER"
                ) from error
        self.metric.reset()
        started = time.time()
        kept = []
        with evaluation_mode(model):
            for detections in self._detections(model):
                if self.world_size > 1:
                    kept.append(detections)
                else:
                    self.metric.update(*detections)
        seconds = max(time.time() - started, 1e-9)
        count = len(self.dataset)
        get_logger().info(
            "evaluated %d images in %.1f s: %.2f images/s", count, seconds, count / seconds
        )
        if self.world_size > 1:
            return self._gathered_results(kept)
        return self._finish()

    def results_of_json(self, path: str) -> dict[str, float]:
        """The metric of detections that an earlier run has written to a COCO results file."""
        self.metric.reset()
        for detections in read_results(path, self.dataset, getattr(self.metric, "bias", 0)):
            self.metric.update(*detections)
        return self._finish(save=False)

    def _detections(self, model):
        """(im_ids int64 [B], bbox float32 [M, 6], bbox_num int32 [B]) of every batch."""
        batches = len(self.reader)
        reported = time.time()
        with progress_bar(total=batches, desc="evaluating", unit="batch") as bar:
            for index, batch in enumerate(self.reader):
                outputs = model(as_tensors({k: batch[k] for k in MODEL_KEYS if k in batch}))
                bbox_num = outputs["bbox_num"].numpy()
                yield np.asarray(batch["im_id"]).reshape(-1), outputs["bbox"].numpy(), bbox_num
                bar.update(1)
                if bar.disable and time.time() - reported > _SECONDS_BETWEEN_LINES:
                    reported = time.time()
                    get_logger().info("evaluating: batch %d of %d", index + 1, batches)

    def _finish(self, save: bool = True) -> dict[str, float]:
        results = self.metric.results()
        get_logger().info("\n%s", self.metric.table())
        if save and self.output_eval:
            path = os.path.join(self.output_eval, RESULTS_FILE)
            self.metric.save_json(path)
            get_logger().info("detections written to %s", path)
        return results

    def _gathered_results(self, kept) -> dict[str, float]:
        """Every rank computes the metric from the detections of all; rank 0 reports it."""
        shares: list = []
        dist.all_gather_object(shares, _concatenated(kept))
        for im_ids, bbox, bbox_num in shares:
            self.metric.update(im_ids, bbox, bbox_num)
        return self._finish() if dist.get_rank() == 0 else self.metric.results()


def _concatenated(batches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The detections of several batches as one batch; empty arrays for none."""
    if not batches:
        return np.zeros(0, np.int64), np.zeros((0, 6), np.float32), np.zeros(0, np.int32)
    im_ids, bbox, bbox_num = zip(*batches)
    return np.concatenate(im_ids), np.concatenate(bbox), np.concatenate(bbox_num)


def read_results(path: str, dataset, bias: float = 0):
    """Detections of a COCO results file, image by image, as the metric takes them.

    Every image of the data set comes: in those the file does not mention nothing was found.

    Args:
        bias: what was added to widths and heights when the file was written.

    Raises:
        DataError: no such file, not a results file, or an image or category that the data set does
            not have.
    """
    rows_of: dict = {int(image["id"]): [] for image in dataset.to_coco()["images"]}
    class_of = {category: index for index, category in enumerate(dataset.category_ids)}
    for entry in _read_entries(path):
        for key, known in (("image_id", rows_of), ("category_id", class_of)):
            if entry[key] not in known:
                raise DataError(f"{path}: {key} {entry[key]} is not in {dataset.name}")
        x, y, width, height = entry["bbox"]
        corners = (x, y, x + width - bias, y + height - bias)
        rows_of[entry["image_id"]].append(
            (class_of[entry["category_id"]], entry["score"], *corners)
        )
    for image_id, rows in rows_of.items():
        yield (
            np.array([image_id], np.int64),
            np.array(rows, np.float32).reshape(-1, 6),
            np.array([len(rows)], np.int32),
        )


def _read_entries(path: str) -> list[dict]:
    """The list in a COCO results file, each entry with the keys and types that count.

    Raises:
        DataError: no such file, or something else in it.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            entries = json.load(stream)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); an evaluation without --json_eval writes "
            "it"
        ) from error
    except ValueError as error:
        raise DataError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(entries, list):
        raise DataError(
            f"{path}: not a COCO results file (a list of image_id, category_id, bbox, score)"
        )
    for number, entry in enumerate(entries):
        if not _is_detection(entry):
            raise DataError(
                f"{path}: not a COCO results file: entry {number} is {str(entry)[:200]}, needed: "
                "image_id and category_id (whole numbers), bbox (four numbers) and score"
            )
    return entries


def _is_detection(entry) -> bool:
    """Whether this is {image_id, category_id, bbox: [x, y, width, height], score} in numbers."""
    if not isinstance(entry, dict) or not isinstance(entry.get("bbox"), list):
        return False
    numbers = [entry.get("score"), *entry["bbox"]]
    return (
        isinstance(entry.get("image_id"), int)
        and isinstance(entry.get("category_id"), int)
        and len(numbers) == 5
        and all(isinstance(n, (int, float)) and math.isfinite(n) for n in numbers)
    )
