"""The worst errors of an evaluation, drawn: false positives, misses, suspect labels."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Optional

import numpy as np

from ppdet_lite.metrics.analysis.error_types import KINDS
from ppdet_lite.metrics.analysis.suspects import SUSPICIONS, Suspect, label_suspects
from ppdet_lite.report.drawn_boxes import Color, Mark, as_jpeg, corners_of, draw_marks, read_photo
from ppdet_lite.report.evaluation.evaluation import Evaluation
from ppdet_lite.report.page import Attachment, Cell, Group, Key, Section, Table, Tile

SIDE = 300
_COUNT, _OF_SUSPICION, _PER_IMAGE = 12, 6, 2
_FOUND: Color = (230, 50, 60)
_LABEL: Color = (30, 190, 110)
_KEYS = (Key("#e6323c", "detection"), Key("#1ebe6e", "label", dashed=True))
_NOT_FOUND = "no box of its class with IoU 0.5"
_LISTED = 50
SUSPECTS_FILE = "label_suspects.csv"


def error_image_sections(evaluation: Evaluation) -> Iterator[Section]:
    """The sections with images; without any where the photos cannot be read."""
    groups = [_false_positives(evaluation), _misses(evaluation)]
    if shown := [group for group in groups if group.tiles]:
        text = "Look here first: what they have in common is what to change in data or training."
        yield Section("worst", "The worst errors", text, "Worst errors", groups=shown)
    yield _suspects(evaluation)


def _false_positives(evaluation: Evaluation) -> Group:
    errors, found = evaluation.errors, evaluation.boxes.found
    rows = np.flatnonzero(errors.kinds >= 0)
    rows = rows[np.argsort(-found.scores[rows], kind="stable")]
    tiles = []
    for number, row in enumerate(_spread(found.images, rows.tolist(), _COUNT), start=1):
        kind, overlap = KINDS[errors.kinds[row]], errors.overlaps[row]
        text = f"{kind}, IoU {overlap:.2f}" if overlap > 0 else kind
        label = -1 if kind == "background" else int(errors.targets[row])
        tiles.append(_tile(evaluation, f"false_positive_{number:02}", row, label, text))
    text = f"The most confident detections that are wrong, at most {_PER_IMAGE} of an image."
    return Group("False positives", text, [*filter(None, tiles)], keys=_KEYS)


def _misses(evaluation: Evaluation) -> Group:
    labels, found = evaluation.boxes.labels, evaluation.boxes.found
    scores = np.zeros(len(labels.images))
    right = np.flatnonzero(evaluation.matches.is_right())
    scores[evaluation.matches.labels[0][right]] = found.scores[right]
    limits = np.asarray(evaluation.thresholds)[labels.classes]
    rows = np.flatnonzero(~labels.is_ignored & (scores < limits))
    rows = rows[np.lexsort((-labels.areas[rows], scores[rows]))]
    tiles = []
    for number, row in enumerate(_spread(labels.images, rows.tolist(), _COUNT), start=1):
        score = scores[row]
        text = f"best score {score:.2f}, below {limits[row]:.2f}" if score else _NOT_FOUND
        tiles.append(_tile(evaluation, f"miss_{number:02}", None, row, text))
    text = "Labels that no right detection above the threshold of their class found: those found "
    text += "at no score first, large ones before small ones."
    return Group("Misses", text, [*filter(None, tiles)], keys=_KEYS[1:])


def _suspects(evaluation: Evaluation) -> Section:
    # A class of which no detection is right says nothing about labels.
    limits = [curve.threshold() if curve.best() >= 0 else np.inf for curve in evaluation.curves]
    given = evaluation.boxes, evaluation.matches, evaluation.errors, limits
    suspects = label_suspects(*given)
    groups = []
    counts = Counter(suspect.suspicion for suspect in suspects)
    found = evaluation.boxes.found
    for name in SUSPICIONS:
        label_of = {each.found: each.label for each in suspects if each.suspicion == name}
        tiles = []
        chosen = _spread(found.images, list(label_of), _OF_SUSPICION)
        for number, row in enumerate(chosen, start=1):
            file = f"suspect_{name.replace(' ', '_')}_{number:02}"
            tiles.append(_tile(evaluation, file, row, label_of[row], ""))
        title = f"{name.capitalize()}? ({counts[name]:,})"
        groups.append(Group(title, "", [*filter(None, tiles)], keys=_KEYS))
    text = f"{len(suspects):,} confident detections disagree with the labels. The detector may be "
    text += f"right: look, and correct the data. All of them stand in {SUSPECTS_FILE}."
    if not suspects:
        text = "No confident detection disagrees with the labels."
    shown = [group for group in groups if group.tiles]
    tables = []
    if suspects and not shown:  # no images
        suspects_by_score = sorted(suspects, key=lambda each: -found.scores[each.found])
        tables = [_suspect_list(evaluation, suspects_by_score[:_LISTED])]
        if len(suspects) > _LISTED:
            text += f" The {_LISTED} most confident are listed."
    files = [Attachment(SUSPECTS_FILE, _suspect_table(evaluation, suspects))]
    return Section(
        *("suspects", "Label suspects", text), tables=tables, groups=shown, attachments=files
    )


def _suspect_list(evaluation: Evaluation, suspects: Iterable[Suspect]) -> Table:
    """The same for the page, where no image can be shown."""
    boxes, rows = evaluation.boxes, []
    for row, suspicion, label in suspects:
        image, score = int(boxes.found.images[row]), float(boxes.found.scores[row])
        file = evaluation.file_names[image]
        texts = [Cell(file, file), Cell(suspicion, suspicion)]
        name = boxes.class_names[boxes.found.classes[row]]
        texts += [Cell(name, name), Cell(f"{score:.2f}", score)]
        texts.append(_place(boxes.found.boxes_xywh_px[row]))
        labeled = boxes.class_names[boxes.labels.classes[label]] if label >= 0 else "–"
        texts.append(Cell(labeled, labeled))
        texts.append(_place(boxes.labels.boxes_xywh_px[label]) if label >= 0 else Cell("–", ""))
        rows.append(texts)
    columns = ("image", "suspicion", "detected", "score", "x, y, w, h", "labeled", "label's box")
    return Table(columns, rows, names=("image", "detected", "labeled"))


def _place(box: np.ndarray) -> Cell:
    text = ", ".join(f"{value:.0f}" for value in box.tolist())
    return Cell(text, text)


def _suspect_table(evaluation: Evaluation, suspects: Iterable[Suspect]) -> bytes:
    """A row per suspect: image, detection, label."""
    boxes, text = evaluation.boxes, io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    place = ["x", "y", "width", "height"]
    names = ["image_id", "file", "suspicion", "detected", "score", *place, "labeled"]
    writer.writerow([*names, *(f"label_{name}" for name in place)])
    for row, suspicion, label in suspects:
        image = int(boxes.found.images[row])
        found = [round(value, 2) for value in boxes.found.boxes_xywh_px[row].tolist()]
        name = boxes.class_names[boxes.found.classes[row]]
        cells = [boxes.image_ids[image], evaluation.paths[image] or "", suspicion, name]
        cells += [round(float(boxes.found.scores[row]), 4), *found]
        if label >= 0:
            cells.append(boxes.class_names[boxes.labels.classes[label]])
            cells += [round(value, 2) for value in boxes.labels.boxes_xywh_px[label].tolist()]
        writer.writerow(cells)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _spread(images: np.ndarray, rows: list[int], count: int) -> list[int]:
    """The first rows, of each image a few at most."""
    seen: Counter[int] = Counter()
    chosen = []
    for row in rows:
        image = int(images[row])
        seen[image] += 1
        if seen[image] <= _PER_IMAGE:
            chosen.append(row)
        if len(chosen) == count:
            break
    return chosen


def _tile(
    evaluation: Evaluation, name: str, found: Optional[int], label: int, text: str
) -> Optional[Tile]:
    """A detection or a label with its surroundings; the other labels there are thin."""
    boxes = evaluation.boxes
    names, labels = boxes.class_names, boxes.labels
    image = int(boxes.found.images[found] if found is not None else labels.images[label])
    photo = read_photo(evaluation.paths[image])
    if photo is None:
        return None
    marks = [
        Mark(corners_of(labels.boxes_xywh_px[row]), _LABEL, width=1, is_dashed=True)
        for row in np.flatnonzero(labels.images == image).tolist()
        if row != label
    ]
    title = labeled = names[labels.classes[label]] if label >= 0 else ""
    if label >= 0:
        box = corners_of(labels.boxes_xywh_px[label])
        marks.append(Mark(box, _LABEL, is_dashed=True))
    if found is not None:
        box = corners_of(boxes.found.boxes_xywh_px[found])
        kind = names[boxes.found.classes[found]]
        title = f"{kind} {boxes.found.scores[found]:.2f}"
        title += f", labeled {labeled}" if labeled not in ("", kind) else ""
        marks.append(Mark(box, _FOUND))
    drawn = draw_marks(photo, marks, SIDE, around=box)
    file = evaluation.paths[image]
    caption = ", ".join(filter(None, [text, file.name if file else ""]))
    return Tile(name, as_jpeg(drawn), title, caption)
