"""Large images out of photos, as tools/dev/make_large_images.py makes them."""

import json

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError, DataError
from tools.dev.make_large_images import GRAY, Layout, make_large_images


@pytest.fixture
def photos(tmp_path):
    """Five photos of one color each with a white object; one is twice as large as a cell."""
    images, annotations = [], []
    for number in range(5):
        width, height = (128, 64) if number == 0 else (40, 50)
        photo = np.zeros((height, width, 3), np.uint8)
        x, y, w, h = box = [64, 16, 32, 32] if number == 0 else [4, 8, 16, 24]
        photo[y : y + h, x : x + w] = 255
        cv2.imwrite(str(tmp_path / f"{number}.png"), photo)
        images.append({"id": number, "file_name": f"{number}.png"})
        row = {"image_id": number, "category_id": 7, "bbox": box, "area": w * h}
        annotations.append({"id": number + 1, **row})
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": 7, "name": "white"}]
    (tmp_path / "photos.json").write_text(json.dumps(content))
    return tmp_path


def made_of(photos, output, images=1, seed=0):
    annotations = photos / "photos.json"
    return make_large_images(annotations, photos, output, images, Layout(2, 64), seed)


def test_labels_lie_on_their_objects(photos, tmp_path):
    made = [made_of(photos, tmp_path / f"large{seed}", seed=seed) for seed in range(3)]
    for seed, content in enumerate(made):
        path = tmp_path / f"large{seed}" / "images" / content["images"][0]["file_name"]
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert image.shape == (128, 128) and len(content["annotations"]) == 4
        white = np.zeros(image.shape, bool)
        for item in content["annotations"]:
            x, y, w, h = map(int, item["bbox"])
            assert (w, h) in [(16, 16), (16, 24)] and item["area"] == w * h
            white[y : y + h, x : x + w] = True
        assert image[white].mean() > 240 and image[~white].max() < 200
        assert abs(int(np.median(image[~white & (image > 60)])) - GRAY) < 3
    assert any(tuple(item["bbox"][2:]) == (16, 16) for m in made for item in m["annotations"])


def test_the_seed_gives_the_set(photos, tmp_path):
    sets = [made_of(photos, tmp_path / str(n), seed=seed) for n, seed in enumerate([3, 3, 4])]
    assert sets[0] == sets[1] != sets[2]
    files = [(tmp_path / str(n) / "images" / "0001.jpg").read_bytes() for n in range(2)]
    assert files[0] == files[1]


def test_errors(photos, tmp_path):
    with pytest.raises(ConfigError, match="`images`: found 2, allowed: 1 to 1"):
        made_of(photos, tmp_path / "large", images=2)
    for file in photos.glob("*.png"):
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"\.png"):
        made_of(photos, tmp_path / "large")
