"""Detections as rows [M, 6] of (class index, score, x1, y1, x2, y2) in pixels of the image, and the
records that are written for them.
"""

from difflib import get_close_matches
from typing import Any, Optional, Sequence, Union

import numpy as np

from ppdet_lite.core.errors import ConfigError

Threshold = Union[float, Sequence[float]]
"""The lowest score that counts, of all classes or of each by its index."""

RESULTS_FILE = "bbox.json"
"""Name of the file with all detections of a run."""
TRUTH_FILE = "truth.json"
"""Name of the file beside it with the labels of the same images."""


def class_name(class_names: Sequence[str], class_id: int) -> str:
    """Name of a class index; "class 7" where the list has no such entry."""
    if 0 <= class_id < len(class_names):
        return str(class_names[class_id])
    return f"class {class_id}"


def class_ids_of(classes: Sequence[str], class_names: Sequence[str]) -> Optional[list[int]]:
    """The class indices that names or numbers mean; None for an empty list, which means all.

    Raises:
        ConfigError: neither a name nor a number of a class.
    """
    ids = []
    for text in classes:
        if text in class_names:
            ids.append(list(class_names).index(text))
        elif text.isdecimal() and int(text) < len(class_names):
            ids.append(int(text))
        else:
            near = get_close_matches(text, map(str, class_names), n=1)
            names = ", ".join(map(str, class_names[:10])) + (", ..." if class_names[10:] else "")
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ConfigError(f"`classes`: found {text}, allowed: {names}{hint}")
    return ids or None


def rows_of_classes(bbox: np.ndarray, class_ids: Optional[Sequence[int]]) -> np.ndarray:
    """The rows of these classes, all for None."""
    return bbox if class_ids is None else bbox[np.isin(bbox[:, 0], class_ids)]


def check_threshold(threshold: Threshold) -> None:
    """A ConfigError for a threshold that is no score."""
    if not all(0 <= value <= 1 for value in np.atleast_1d(threshold).tolist()):
        raise ConfigError(f"`threshold`: found {threshold}, allowed: 0 to 1")


def confident_rows(bbox: np.ndarray, threshold: Threshold) -> np.ndarray:
    """A float64 copy of the rows with a score of at least `threshold`, the highest first. Rows of
    class -1, the mark of some operators for "nothing found", are left out.
    """
    rows = np.array(bbox, np.float64).reshape(-1, 6)
    rows = rows[np.isfinite(rows).all(axis=1) & (rows[:, 0] >= 0)]
    limits = np.atleast_1d(np.asarray(threshold, np.float64))
    lowest = limits[np.minimum(rows[:, 0].astype(int), len(limits) - 1)]
    kept: np.ndarray = rows[rows[:, 1] >= lowest]
    return kept[np.argsort(-kept[:, 1], kind="stable")]


def detection_records(
    bbox: np.ndarray, class_names: Sequence[str], threshold: Threshold = 0.0
) -> list[dict[str, Any]]:
    """Detections as plain dicts, best score first; `box` is x1, y1, x2, y2 in pixels."""
    return [
        {
            "class_id": int(row[0]),
            "class_name": class_name(class_names, int(row[0])),
            "score": round(float(row[1]), 6),
            "box": [round(float(value), 3) for value in row[2:]],
        }
        for row in confident_rows(bbox, threshold)
    ]


def coco_records(
    bbox: np.ndarray, image_id: int, file_name: str, *, category_ids: Optional[Sequence[int]] = None
) -> list[dict[str, Any]]:
    """All detections in the COCO results format (bbox = x, y, width, height), with the file name
    beside. `category_ids` are by class index; None for the class index itself.

    Raises:
        ConfigError: a class index beyond `category_ids`.
    """
    records = []
    for class_id, score, x1, y1, x2, y2 in confident_rows(bbox, 0.0).tolist():
        category = int(class_id)
        if category_ids is not None:
            if not 0 <= category < len(category_ids):
                found = f"{len(category_ids)} entries, but the network found class {category}"
                raise ConfigError(f"category_ids: {found}")
            category = int(category_ids[category])
        box = [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
        record = {"image_id": image_id, "file_name": file_name, "category_id": category}
        records.append({**record, "bbox": box, "score": round(score, 6)})
    return records
