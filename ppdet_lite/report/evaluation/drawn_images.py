"""Images of an evaluation: their labels beside what was detected."""

from __future__ import annotations

from typing import Optional

import numpy as np

from ppdet_lite.report.drawn_boxes import (
    as_jpeg,
    class_mark,
    corners_of,
    draw_marks,
    read_photo,
    side_by_side,
)
from ppdet_lite.report.evaluation.evaluation import Evaluation
from ppdet_lite.report.page import Group, Section, Tile

_COUNT, _SIDE, _HIGHEST = 8, 560, 420


def image_section(evaluation: Evaluation) -> Optional[Section]:
    """Some images, spread over the data; None where none can be read."""
    images = np.arange(len(evaluation.boxes.image_ids))
    chosen = images[np.linspace(0, len(images) - 1, min(_COUNT, len(images))).round().astype(int)]
    tiles = [_pair(evaluation, image) for image in np.unique(chosen).tolist()]
    shown = [tile for tile in tiles if tile is not None]
    if not shown:
        return None
    text = "To the left the labels, to the right what is detected above the best threshold of its "
    text += "class. Click on an image to enlarge it."
    groups = [Group("", "", shown, "pairs")]
    return Section("images", "Labels and predictions", text, "Predictions", groups=groups)


def _pair(evaluation: Evaluation, image: int) -> Optional[Tile]:
    boxes, file = evaluation.boxes, evaluation.paths[image]
    photo = read_photo(file)
    if photo is None or file is None:
        return None
    names = boxes.class_names
    labeled = np.flatnonzero(boxes.labels.images == image).tolist()
    limits = np.asarray(evaluation.thresholds)[boxes.found.classes]
    kept = (boxes.found.images == image) & (boxes.found.scores >= limits)
    found = np.flatnonzero(kept).tolist()
    marks = []
    for row in labeled:
        index = int(boxes.labels.classes[row])
        marks.append(class_mark(corners_of(boxes.labels.boxes_xywh_px[row]), index, names[index]))
    seen = []
    for row in reversed(found):
        index, score = int(boxes.found.classes[row]), boxes.found.scores[row]
        box = corners_of(boxes.found.boxes_xywh_px[row])
        seen.append(class_mark(box, index, f"{names[index]} {score:.2f}"))
    side = min(_SIDE, round(_HIGHEST * max(photo.shape[:2]) / photo.shape[0]))
    drawn = side_by_side(draw_marks(photo, marks, side), draw_marks(photo, seen, side))
    right = int((evaluation.matches.is_right() & kept).sum())
    text = f"labels: {len(labeled)}, detections: {len(found)}, right: {right}"
    return Tile(f"prediction_{boxes.image_ids[image]}", as_jpeg(drawn), file.name, text)
