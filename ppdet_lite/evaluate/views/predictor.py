"""Detections of a model on several views of every image."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.evaluate.views.merge import Merge
from ppdet_lite.evaluate.views.view import View
from ppdet_lite.modeling.modes import evaluation_mode

_SIZES = ("target_size", "size")  # of Resize and CornerLetterbox, and of Pad


@dataclass
class ViewPredictor:
    """Detects on views of an image and merges what is found.

    Args:
        model: the network.
        preprocess: entries of `Preprocess` for the network's input.
        views: makes the views of an image.
        merge: makes one list of the detections of all views.
        batch_size: views of one size that run at once.
    """

    model: nn.Layer
    preprocess: Sequence[dict[str, Any]]
    views: Callable[[np.ndarray], Iterable[View]]
    merge: Merge
    batch_size: int = 1
    _steps: dict[float, Preprocess] = field(default_factory=dict, repr=False)

    def __call__(self, image_rgb: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] -> detections float32 [M, 6]: class, score, x1, y1, x2, y2 in pixels."""
        rows, borders = [np.zeros((0, 6), np.float32)], [np.zeros((0, 4), np.float32)]
        views = list(self.views(image_rgb))
        for view, found in zip(views, self._detect(views)):
            mapped, ends = view.to_image(found)
            rows.append(mapped)
            borders.append(ends)
        return self.merge(np.concatenate(rows), np.concatenate(borders))

    def _detect(self, views: Sequence[View]) -> list[np.ndarray]:
        """Detections of every view; those with inputs of one shape run together."""
        samples = [self._step(view.scale)(np.ascontiguousarray(view.image)) for view in views]
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, sample in enumerate(samples):
            groups.setdefault(sample["image"].shape, []).append(place)
        found: list[np.ndarray] = [np.zeros((0, 6), np.float32)] * len(views)
        for places in groups.values():
            for start in range(0, len(places), self.batch_size):
                part = places[start : start + self.batch_size]
                for place, rows in zip(part, self._run([samples[i] for i in part])):
                    found[place] = rows[rows[:, 0] >= 0]
        return found

    def _run(self, samples: Sequence[dict[str, np.ndarray]]) -> list[np.ndarray]:
        batch = {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
        batch["im_id"] = np.zeros((len(samples), 1), np.int64)
        with evaluation_mode(self.model):
            outputs = self.model({key: paddle.to_tensor(value) for key, value in batch.items()})
        counts = outputs["bbox_num"].numpy()
        return np.split(outputs["bbox"].numpy(), np.cumsum(counts)[:-1])

    def _step(self, scale: float) -> Preprocess:
        if scale not in self._steps:
            stride = int(self.model.largest_stride)
            self._steps[scale] = Preprocess(scaled_steps(self.preprocess, scale, stride))
        return self._steps[scale]


def scaled_steps(
    steps: Sequence[dict[str, Any]], scale: float, stride: int
) -> list[dict[str, Any]]:
    """The entries of `Preprocess` for an input of other size, whole multiples of `stride`."""
    scaled = copy.deepcopy(list(steps))
    for step in scaled if scale != 1 else ():
        for key in (key for key in _SIZES if key in step):
            sides = step[key] if isinstance(step[key], (list, tuple)) else [step[key]] * 2
            step[key] = [max(round(side * scale / stride), 1) * stride for side in sides]
    return scaled
