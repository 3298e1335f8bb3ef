"""YOLODataSet: boxes, sizes as shown, class names, and what is refused."""

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.yolo_txt import YOLODataSet


def image(path, height=60, width=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


def turned_jpeg(path, height=60, width=100):
    """A JPEG whose EXIF data say: show me turned by a quarter."""
    image(path, height, width)
    data = path.read_bytes()
    tiff = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"
    payload = b"Exif\x00\x00" + tiff + b"\x00\x00\x00\x00"
    segment = b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload
    path.write_bytes(data[:2] + segment + data[2:])


@pytest.fixture
def yolo(tmp_path):
    image(tmp_path / "images" / "train" / "a.jpg")
    image(tmp_path / "images" / "train" / "b.png")
    turned_jpeg(tmp_path / "images" / "train" / "c.jpg")
    labels = tmp_path / "labels" / "train"
    labels.mkdir(parents=True)
    (labels / "a.txt").write_text("1 0.5 0.5 0.2 0.1\n\n0 0.1 0.2 0.3 0.2 0.3 0.6\n")
    (labels / "c.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    return tmp_path


def test_yolo_labels(yolo):
    dataset = YOLODataSet(str(yolo), "images/train")
    assert dataset.class_names == ["dog", "cat"]
    record = dataset.record(0)
    np.testing.assert_allclose(record["gt_bbox"], [[40, 27, 60, 33], [10, 12, 30, 36]], atol=1e-4)
    assert record["gt_class"].tolist() == [[1], [0]]
    assert dataset.record(1)["gt_bbox"].shape == (0, 4)
    shown = dataset.record(2)
    assert (shown["h"], shown["w"]) == (100, 60)
    assert shown["gt_bbox"].tolist() == [[15, 25, 45, 75]]
    assert dataset.to_coco()["annotations"][2]["bbox"] == [15, 25, 30, 50]


def test_yolo_labels_beside_the_images_and_names_in_yaml(tmp_path):
    image(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("1 0.5 0.5 0.2 0.1\n")
    (tmp_path / "data.yaml").write_text("names:\n  0: dog\n  1: cat\n")
    assert YOLODataSet(str(tmp_path), "").class_names == ["dog", "cat"]
    (tmp_path / "data.yaml").write_text("names: [x, y]\n")
    assert YOLODataSet(str(tmp_path), "").class_names == ["x", "y"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("0 0.1 0.1 0.1 0.1\n2 0.5 0.5 0.1 0.1", " line 2: class: found 2, allowed: 0 to 1"),
        ("0.5 0.5 0.5 0.1 0.1", " line 1: class: found 0.5, allowed: 0 to 1"),
        ("0 0.5 x 0.1 0.1", " line 1: found '0 0.5 x 0.1 0.1', allowed: numbers"),
        (
            "0 0.5 0.5 0.1",
            " line 1: found 4 fields, allowed: class cx cy w h, or class and the x y",
        ),
        ("0 0.5 0.5 0.1 0.1 0.9", " line 1: found 6 fields, allowed: class cx cy w h, or class"),
    ],
)
def test_unusable_yolo_labels(yolo, text, expected):
    path = yolo / "labels" / "train" / "a.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        YOLODataSet(str(yolo), "images/train")
    assert str(caught.value).startswith(f"{path}{expected}")


def test_yolo_needs_names_and_images(yolo):
    (yolo / "classes.txt").unlink()
    with pytest.raises(DataError, match="label_list.*data.yaml"):
        YOLODataSet(str(yolo), "images/train")
    (yolo / "none").mkdir()
    (yolo / "classes.txt").write_text("dog\ncat\n")
    with pytest.raises(DataError, match="none: no images"):
        YOLODataSet(str(yolo), "none")
