"""COCO files of which some entries cannot be used: these are named, the others are checked.

A training stops at the first such entry.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ppdet_lite.core.errors import DataError, ImageError
from ppdet_lite.data.pixels.file_check import displayed_size
from ppdet_lite.data.sources.coco_json import (
    ANNOTATION,
    IMAGE,
    OPTIONAL,
    BadField,
    check_fields,
)
from ppdet_lite.data.sources.files import read_text


def usable_entries(path: Path, image_root: Path) -> tuple[dict[str, Any], list[str]]:
    """The content of a COCO file without the images and annotations that cannot be used, and what
    is wrong with these, one line each. All of it is in memory.

    Raises:
        DataError: no JSON, or without the lists that make a COCO file.
    """
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key, []), list) for key in ("images", "annotations", "categories")
    ):
        raise DataError(f"{path}: not a COCO annotation file")
    problems: list[str] = []
    images: dict[int, dict[str, Any]] = {}
    for index, image in enumerate(content.get("images", [])):
        try:
            _check_image(index, image, image_root, images)
            images[image["id"]] = image
        except BadField as field:
            problems.append(f"{path}: {field.text}")
    categories = {
        item.get("id") for item in content.get("categories", []) if isinstance(item, dict)
    }
    kept = []
    for index, item in enumerate(content.get("annotations", [])):
        try:
            _check_annotation(index, item, images, categories)
            kept.append(item)
        except BadField as field:
            problems.append(f"{path}: {field.text}")
    return {**content, "images": list(images.values()), "annotations": kept}, problems


def _check_image(index: int, image: Any, root: Path, known: dict[int, dict[str, Any]]) -> None:
    if isinstance(image, dict) and not (image.get("width") and image.get("height")):
        try:
            path = os.path.join(root, str(image.get("file_name")))
            image["height"], image["width"] = displayed_size(path)
        except ImageError as error:
            raise BadField("images", index, "width", f"missing, and {error}") from None
    check_fields("images", index, image, IMAGE)
    if image["id"] in known:
        raise BadField("images", index, "id", f"{image['id']} is the id of another image, too")


def _check_annotation(
    index: int, item: Any, images: dict[int, dict[str, Any]], categories: set[Any]
) -> None:
    check_fields("annotations", index, item, ANNOTATION, OPTIONAL)
    for key, known in (("image_id", images), ("category_id", categories)):
        if item[key] not in known:
            what = "image" if key == "image_id" else "category"
            raise BadField("annotations", index, key, f"{item[key]} is the id of no {what}")
    if not all(isinstance(value, (int, float)) for value in _points(item.get("segmentation"))):
        problem = "found a polygon with something that is no number of pixels"
        raise BadField("annotations", index, "segmentation", problem)


def _points(segmentation: Any) -> Iterator[Any]:
    for ring in segmentation if isinstance(segmentation, list) else ():
        yield from ring if isinstance(ring, list) else ()
