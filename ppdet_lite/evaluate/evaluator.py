"""Evaluation: run the model over the evaluation data and hand its detections to the metric.

With several processes each takes its share of the images (in PaddleDetection the first does all
and the others wait), and the metric is computed from the gathered detections. Only detections are
kept, never images or feature maps.
"""

import os
import time
from typing import Any, Iterator, Optional

import numpy as np
import paddle.distributed as dist
from paddle import nn

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError, DataError, UserError
from ppdet_lite.core.workspace import create
from ppdet_lite.data.sources.dataset import Dataset
from ppdet_lite.device.ranks import all_processes, current_ranks
from ppdet_lite.device.select import normalizes_on_device
from ppdet_lite.evaluate.results_file import Detections, read_results
from ppdet_lite.evaluate.truth_file import write_truth
from ppdet_lite.metrics.analysis.box_tables import Boxes
from ppdet_lite.metrics.analysis.matching import match
from ppdet_lite.metrics.analysis.score_curves import best_thresholds
from ppdet_lite.metrics.metric import DetectionMetric
from ppdet_lite.metrics.voc import VOCMetric
from ppdet_lite.modeling.batch_tensors import PIXEL_MAP, as_tensors
from ppdet_lite.modeling.modes import evaluation_mode
from ppdet_lite.utils.cpu import peak_resident_bytes
from ppdet_lite.utils.detection_rows import RESULTS_FILE, TRUTH_FILE
from ppdet_lite.utils.logger import get_logger, log_in_full, progress_bar

_MODEL_KEYS = ("image", PIXEL_MAP, "im_id", "im_shape", "scale_factor")
_SECONDS_BETWEEN_LINES = 20.0
_NOTHING_FOUND = (np.zeros(0, np.int64), np.zeros((0, 6), np.float32), np.zeros(0, np.int32))


def build_metric(cfg: Config, dataset: Dataset, classwise: bool) -> DetectionMetric:
    """The metric that `cfg.metric` names, for the ground truth of `dataset`."""
    settings = cfg.settings
    if settings.metric == "COCO":
        from ppdet_lite.metrics.coco import COCOMetric  # pycocotools, which export can do without

        return COCOMetric(dataset, classwise=classwise, bias=settings.bias)
    if settings.metric == "VOC":
        return VOCMetric(dataset, map_type=settings.map_type, classwise=classwise)
    raise ConfigError(f"metric: found '{settings.metric}', allowed: COCO, VOC")


class Evaluator:
    """Evaluates models on one data set.

    Args:
        cfg: gives `EvalReader`, `EvalDataset`, the metric and its settings.
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
        cfg: Config,
        *,
        dataset: Any = None,
        reader: Any = None,
        classwise: Optional[bool] = None,
        output_eval: Optional[str] = None,
    ):
        rank, self.world_size = current_ranks()
        share = {"rank": rank, "world_size": self.world_size, "raw_pixels": normalizes_on_device()}
        self.reader = (reader or create("EvalReader", cfg)).bound(dataset=dataset, **share)
        self.dataset = self.reader.dataset
        if len(self.dataset) == 0:
            raise DataError(f"{self.dataset.name}: no images to evaluate")
        self.output_eval = output_eval or cfg.settings.output_eval
        self._told_limit = False
        classwise = cfg.settings.classwise if classwise is None else classwise
        self.metric = build_metric(cfg, self.dataset, classwise)

    @property
    def primary(self) -> tuple[str, float]:
        """Name and value of the number that decides which model is best, after `run`."""
        return self.metric.primary

    def run(self, model: nn.Layer) -> dict[str, float]:
        """Detects on all images and computes the metric; the same numbers on every rank.

        Raises:
            UserError: an image that cannot be read, or `output_eval` that cannot be written.
        """
        if self.output_eval:
            try:
                os.makedirs(self.output_eval, exist_ok=True)  # now, not after an hour of work
            except OSError as error:
                raise UserError(
                    f"`output_eval` {self.output_eval}: cannot be written ({error.strerror}); "
                    "choose another folder for the detections"
                ) from error
        self._tell_limit()
        self.metric.reset()
        started = time.time()
        kept = [_NOTHING_FOUND]
        failure: Optional[UserError] = None
        try:
            with evaluation_mode(model):
                for detections in self._detections(model):
                    if self.world_size > 1:
                        kept.append(detections)
                    else:
                        self.metric.update(*detections)
        except UserError as error:
            if self.world_size == 1:
                raise
            failure = error  # the others wait for the share of this process
        seconds, count = max(time.time() - started, 1e-9), len(self.dataset)
        text = "evaluated %d images in %.1f s: %.2f images/s"
        get_logger().info(text, count, seconds, count / seconds)
        if self.world_size == 1:
            return self._finish()
        shares: list[tuple[Optional[UserError], Detections]] = []
        with all_processes():
            dist.all_gather_object(shares, (failure, tuple(map(np.concatenate, zip(*kept)))))
        for failure, share in shares:  # every rank computes the metric of all, rank 0 reports it
            if failure is not None:
                raise failure
            self.metric.update(*share)
        return self._finish() if dist.get_rank() == 0 else self.metric.results()

    def results_of_json(self, path: str) -> dict[str, float]:
        """The metric of detections that an earlier run has written to a COCO results file."""
        self._tell_limit()
        self.metric.reset()
        for detections in read_results(path, self.dataset, self.metric.bias):
            self.metric.update(*detections)
        return self._finish(save=False)

    def _tell_limit(self) -> None:
        """Warns, once, of images with more objects than the metric counts detections."""
        counted, most = self.metric.max_detections, self.dataset.most_objects()
        if counted is not None and counted < most and not self._told_limit:
            self._told_limit = True
            get_logger().warning(
                "%s: images with more objects (up to %d) than the metric counts detections (the "
                "best %d): AP and AR are cut by its definition",
                *(self.dataset.name, most, counted),
            )

    def _detections(self, model: nn.Layer) -> Iterator[Detections]:
        """The detections of every batch."""
        batches, reported = len(self.reader), time.time()
        with progress_bar(total=batches, desc="evaluating", unit="batch") as bar:
            for index, batch in enumerate(self.reader):
                outputs = model(as_tensors({k: batch[k] for k in _MODEL_KEYS if k in batch}))
                im_ids = np.asarray(batch["im_id"]).reshape(-1)
                bbox = outputs["bbox"].numpy()
                if not np.isfinite(bbox).all():
                    raise UserError(
                        "the network detects boxes with NaN or infinite numbers in the images of "
                        f"ids {im_ids[:10].tolist()}: its weights have diverged; use others"
                    )
                yield im_ids, bbox, outputs["bbox_num"].numpy()
                bar.update(1)
                if bar.disable and time.time() - reported > _SECONDS_BETWEEN_LINES:
                    reported = time.time()
                    get_logger().info("evaluating: batch %d of %d", index + 1, batches)

    def _finish(self, save: bool = True) -> dict[str, float]:
        started = time.time()
        results = self.metric.results()
        get_logger().info(
            "metric of %d detections in %.1f s%s; peak memory %d MB",
            *(len(self.metric.arrays()[0]), time.time() - started, self.metric.computed_by),
            (peak_resident_bytes() or 0) // 2**20,
        )
        log_in_full("\n" + self.metric.table(), self.metric.summary())
        if save and self.output_eval:
            path = self.save_files(self.output_eval)
            text = "detections written to %s; `ppdet report %s` draws their errors"
            get_logger().info(text, path, path)
        return results

    def best_thresholds(self) -> list[float]:
        """For every class the score threshold with the best F1 at IoU 0.5, after `run`."""
        boxes = Boxes.of_metric(self.metric, self.dataset.to_coco())
        return best_thresholds(boxes, match(boxes))

    def save_files(self, folder: str) -> str:
        """Writes the detections of the last run as COCO results, `bbox.json`, and the labels of
        its images, `truth.json`; returns the path of the first. DataError if that is not possible.
        """
        write_truth(self.dataset, self.metric.image_ids, os.path.join(folder, TRUTH_FILE))
        path = os.path.join(folder, RESULTS_FILE)
        self.metric.save_json(path)
        return path
