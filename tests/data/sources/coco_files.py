"""COCO annotation files for tests."""

import json
import re

import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.coco import COCODataSet

CATEGORIES = [{"id": 9, "name": "zebra"}, {"id": 2, "name": "ant"}]


def image(number, **changes):
    return {"id": number, "file_name": f"{number}.jpg", "width": 100, "height": 80, **changes}


def box(number, image_id, bbox, category=9, **changes):
    fields = {"id": number, "image_id": image_id, "category_id": category, "bbox": bbox}
    return {**fields, "area": 7.5, "iscrowd": 0, **changes}


def write(folder, images=None, annotations=None, categories=None, name="a.json", indent=None):
    content = {
        "images": [image(1)] if images is None else images,
        "annotations": [] if annotations is None else annotations,
        "categories": CATEGORIES if categories is None else categories,
    }
    (folder / name).write_text(json.dumps(content, indent=indent))


def load(folder, **options):
    return COCODataSet(str(folder), "", "a.json", **options)


def refuse(folder, text, **options):
    """The data set is refused with these words about its file."""
    with pytest.raises(DataError, match=re.escape(f"{folder / 'a.json'}{text}")):
        load(folder, **options)
