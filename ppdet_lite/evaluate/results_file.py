"""Detections out of a COCO results file, as the metric takes them."""

import json
from os.path import basename
from typing import Any, Iterator

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.dataset import Dataset

_LARGEST = 1e9  # pixels
_FORM = "a list of image_id and category_id (whole numbers), bbox (four numbers) and score"


Detections = tuple[np.ndarray, np.ndarray, np.ndarray]
"""`im_ids`, `bbox`, `bbox_num` of `DetectionMetric.update`."""


def read_results(path: str, dataset: Dataset, bias: float = 0) -> Iterator[Detections]:
    """Detections of a COCO results file, image by image, for every image of the data set.

    Args:
        bias: what was added to widths and heights when the file was written.

    Raises:
        DataError: no such file, not a results file, or an image or category that the data set does
            not have or that is another file in it.
    """
    names = {int(image["id"]): str(image["file_name"]) for image in dataset.to_coco()["images"]}
    rows_of: dict[int, list] = {number: [] for number in names}
    class_of = {category: index for index, category in enumerate(dataset.category_ids)}
    for entry in read_entries(path):
        for key, known in (("image_id", rows_of), ("category_id", class_of)):
            if entry[key] not in known:
                raise DataError(f"{path}: {key} {entry[key]} is not in {dataset.name}")
        name, expected = str(entry.get("file_name", "")), names[entry["image_id"]]
        if name and basename(name) != basename(expected):
            raise DataError(
                f"{path}: image_id {entry['image_id']}: found {name[:200]}, allowed: {expected}, "
                f"the image of that id in {dataset.name}"
            )
        x, y, width, height = entry["bbox"]
        row = class_of[entry["category_id"]], entry["score"], x, y, x + width - bias
        rows_of[entry["image_id"]].append((*row, y + height - bias))
    for image_id, rows in rows_of.items():
        bbox = np.array(rows, np.float32).reshape(-1, 6)
        yield np.array([image_id]), bbox, np.array([len(rows)], np.int32)


def read_entries(path: str) -> list[dict]:
    """The entries of a COCO results file, all with numbers in their places.

    Raises:
        DataError: no such file, or not a results file.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            entries = json.load(stream)
    except OSError as error:
        reason = f"cannot be read ({error.strerror}); an evaluation without `json_eval` writes it"
        raise DataError(f"{path}: {reason}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(entries, list):
        raise DataError(f"{path}: not a COCO results file ({_FORM})")
    for number, entry in enumerate(entries):
        if not _is_detection(entry):
            found = f"entry {number} is {str(entry)[:200]}"
            raise DataError(f"{path}: not a COCO results file ({_FORM}): {found}")
    return entries


def _is_detection(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("bbox"), list):
        return False
    numbers = [entry.get("score"), *entry["bbox"]]
    ids: list[Any] = [entry.get("image_id"), entry.get("category_id")]
    return (
        len(numbers) == 5
        and all(type(number) in (int, float) for number in (*ids, *numbers))
        and all(abs(number) < _LARGEST for number in numbers)
        and all(number == number // 1 for number in ids)
    )
