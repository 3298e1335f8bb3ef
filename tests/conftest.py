"""Fixtures shared by all tests: the optional reference data and a tiny data set made on the fly."""

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

REPO = Path(__file__).resolve().parent.parent
SHARED = REPO.parent / "shared"


@pytest.fixture(scope="session")
def repo() -> Path:
    return REPO


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the reference photos in ../shared/data, which are not part of a clone")
    return SHARED


@pytest.fixture(scope="session")
def golden() -> Path:
    if not (SHARED / "golden").is_dir():
        pytest.skip(
            "needs the reference outputs in ../shared/golden, which are not part of a clone"
        )
    return SHARED / "golden"


@pytest.fixture(scope="session")
def golden_fill(golden):
    """The module that makes weights and inputs from names and seeds."""
    spec = importlib.util.spec_from_file_location("golden_fill", golden / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_coco(tmp_path_factory) -> Path:
    """A COCO data set of 8 train and 4 val pictures (96 x 128): bright squares and dark circles.

    `annotations/{train,val}.json`, `images/`; one training picture has no object.
    """
    root = tmp_path_factory.mktemp("tiny_coco")
    (root / "annotations").mkdir()
    (root / "images").mkdir()
    rng = np.random.default_rng(0)
    categories = [{"id": 3, "name": "square"}, {"id": 7, "name": "circle"}]
    for split, count in (("train", 8), ("val", 4)):
        images, annotations = [], []
        for index in range(count):
            image_id = index + 1
            name = f"{split}_{index}.jpg"
            picture, objects = _tiny_picture(rng, empty=split == "train" and index == 5)
            cv2.imwrite(str(root / "images" / name), picture)
            images.append({"id": image_id, "file_name": name, "height": 96, "width": 128})
            for category, box in objects:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": category,
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": 0,
                    }
                )
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"{split}.json").write_text(json.dumps(content))
    return root


def _tiny_picture(rng, empty: bool):
    picture = rng.integers(90, 140, (96, 128, 3)).astype(np.uint8)
    objects = []
    for slot in range(0 if empty else 2):
        side = int(rng.integers(20, 44))
        x = slot * 64 + int(rng.integers(0, 64 - side))
        y = int(rng.integers(0, 96 - side))
        if rng.random() < 0.5:
            cv2.rectangle(picture, (x, y), (x + side - 1, y + side - 1), (250, 240, 230), -1)
            objects.append((3, [x, y, side, side]))
        else:
            cv2.circle(picture, (x + side // 2, y + side // 2), side // 2, (10, 20, 30), -1)
            objects.append((7, [x, y, 2 * (side // 2) + 1, 2 * (side // 2) + 1]))
    return picture, objects
