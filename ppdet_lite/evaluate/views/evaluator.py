"""Evaluation on several views of every image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from paddle import nn

from ppdet_lite.core.config import Config
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.evaluate.evaluator import Evaluator
from ppdet_lite.evaluate.results_file import Detections
from ppdet_lite.utils.logger import progress_bar

Detect = Callable[[np.ndarray], np.ndarray]


class ViewEvaluator(Evaluator):
    """An Evaluator that asks `detector(model)` for the detections of one image after the other.

    Args:
        detector: makes a function of an image uint8 [H, W, 3] to its detections [M, 6].
        **options: of Evaluator.
    """

    def __init__(self, cfg: Config, detector: Callable[[nn.Layer], Detect], **options: Any):
        super().__init__(cfg, **options)
        self._detector = detector

    def _detections(self, model: nn.Layer) -> Iterator[Detections]:
        detect, order = self._detector(model), self.reader.order
        rows = range(order.rank, len(self.dataset), order.world_size)
        with progress_bar(total=len(rows), desc="evaluating", unit="image") as bar:
            for index in rows:
                record = self.dataset.record(index)
                found = detect(decode_image(record["im_file"]))
                counts = np.array([len(found)], np.int32)
                yield np.asarray(record["im_id"]).reshape(-1), found, counts
                bar.update(1)
