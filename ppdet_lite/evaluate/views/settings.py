"""What is viewed, and how it is merged: tiles of large images or test-time augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import numpy as np
from paddle import nn

from ppdet_lite.core.config import Config
from ppdet_lite.core.workspace import create
from ppdet_lite.evaluate.views.merge import Merge
from ppdet_lite.evaluate.views.predictor import ViewPredictor
from ppdet_lite.evaluate.views.view import Copies, Tiles, View

Metric = Literal["iou", "ios"]


class ViewSettings(NamedTuple):
    """Views of an image, and the merge of their detections."""

    views: Callable[[np.ndarray], Iterable[View]]
    merge: Merge

    def predictor(self, cfg: Config, model: nn.Layer, reader: str) -> ViewPredictor:
        """The detector of a model with the preprocessing and batch size of a reader's section."""
        made = create(reader, cfg)
        steps = made.preprocess_config()
        return ViewPredictor(model, steps, self.views, self.merge, made.batch_size)


def slices(
    size_hw: tuple[int, int],
    overlap: tuple[float, float],
    with_whole: bool,
    threshold: float,
    metric: Metric,
) -> ViewSettings:
    """Tiles of large images, see `Tiles` and `Merge`."""
    return ViewSettings(Tiles(size_hw, overlap, with_whole), Merge(threshold, metric))


def tta(scales: tuple[float, ...], flip: bool, threshold: float, metric: Metric) -> ViewSettings:
    """Test-time augmentation, see `Copies` and `Merge`; boxes that agree are averaged."""
    return ViewSettings(Copies(scales, flip), Merge(threshold, metric, vote=True))
