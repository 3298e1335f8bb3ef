"""YOLODataSet: boxes, sizes as shown, class names, and what is refused."""

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.workspace import create, load_config
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
    with pytest.raises(DataError, match="classes.txt.*label_list.*data.yaml"):
        YOLODataSet(str(yolo), "images/train")
    (yolo / "none").mkdir()
    (yolo / "classes.txt").write_text("dog\ncat\n")
    with pytest.raises(DataError, match="none: no images"):
        YOLODataSet(str(yolo), "none")


def labeled(folder, *texts, names="names: [dog, cat]"):
    """A data set of images of 100 x 100 pixels with these label files."""
    for number, text in enumerate(texts):
        image(folder / "images" / f"{number}.png", 100, 100)
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{number}.txt").write_text(text)
    (folder / "data.yaml").write_text(names)
    return YOLODataSet(str(folder))


BOX = "0 0.5 0.5 0.4 0.2"
EXPECTED = [30, 40, 70, 60]


@pytest.mark.parametrize(
    "lines",
    [
        f"{BOX} 0.4 0.5 2 0.6 0.45 1 0 0 0",  # three points with flags
        f"{BOX} 0.4 0.5 2 0.6 0.45 1",  # two: also ten numbers, of which one is no share
        f"{BOX} 0.5 0.5 0",
        f"{BOX} 0.4 0.5 0\n{BOX} 0.5 0.5 1",
    ],
)
def test_boxes_with_keypoints_are_told_by_their_numbers(tmp_path, lines):
    dataset = labeled(tmp_path, lines)
    np.testing.assert_allclose(dataset.record(0)["gt_bbox"][0], EXPECTED, atol=1e-4)


def test_boxes_with_keypoints_are_told_by_data_yaml(tmp_path):
    names = "names: [dog, cat]\nkpt_shape: [2, 2]"
    dataset = labeled(tmp_path, f"{BOX} 0.9 0.9 0.1 0.1", BOX, names=names)
    for index in (0, 1):
        np.testing.assert_allclose(dataset.record(index)["gt_bbox"], [EXPECTED], atol=1e-4)
    (tmp_path / "names.txt").write_text("dog\n")
    dataset = YOLODataSet(str(tmp_path), label_list="names.txt")
    np.testing.assert_allclose(dataset.record(0)["gt_bbox"], [EXPECTED], atol=1e-4)
    with pytest.raises(DataError, match="2.txt line 1: found 8 fields, allowed: 5, or 9 as kpt_s"):
        labeled(tmp_path, BOX, BOX, f"{BOX} 0.1 0.1 2", names=names)
    for shape in ("[2]", "17", "[0, 3]", "[2, 4]", "[a, b]"):
        with pytest.raises(DataError, match="data.yaml: kpt_shape: found "):
            labeled(tmp_path, BOX, names=f"names: [dog, cat]\nkpt_shape: {shape}")


def test_polygons_and_oriented_boxes_count_by_their_bounds(tmp_path):
    oriented = "1 0.5 0.4 0.7 0.5 0.5 0.6 0.3 0.5"
    dataset = labeled(tmp_path, oriented, "0 0.5 0.5 0.1 0.1 0.5 0.52\n0 0.3 0.4 0.7 0.5 0.4 0.6")
    np.testing.assert_allclose(dataset.record(0)["gt_bbox"], [EXPECTED], atol=1e-4)
    expected = [[10, 10, 50, 52], EXPECTED]  # the first alone could be a box with a keypoint
    np.testing.assert_allclose(dataset.record(1)["gt_bbox"], expected, atol=1e-4)


@pytest.mark.parametrize(
    "lines, problem",
    [
        ("0 0.5 0.5 0.2 0.2 0.5 0.5", "line 1: found 7 fields, which may be a polygon or a box"),
        (f"0 0.3 0.4 0.7 0.5 0.4 0.6\n{BOX} 0.5 0.5 2", "line 2: found 8 fields, which may be a"),
        (f"{BOX} 0.93", "line 1: found 6 fields, .*; a confidence is not read"),
        ("0 50 50 40 20", "line 1: found 50.0, allowed: 0 to 1, shares of width and height"),
        ("0 0.1 0.1 48 0.2 0.3 0.3", "line 1: found 48.0, allowed: 0 to 1"),
        ("0 0.5 inf 0.1 0.1", "line 1: found inf, allowed: 0 to 1"),
        ("0", "line 1: found 1 fields, allowed: class cx cy w h"),
        ("nan 0.5 0.5 0.1 0.1", "line 1: class: found nan"),
    ],
)
def test_lines_that_cannot_be_told_are_refused(tmp_path, lines, problem):
    with pytest.raises(DataError, match=f"0.txt {problem}"):
        labeled(tmp_path, lines)


def test_all_unusable_label_files_are_named_at_once(tmp_path):
    with pytest.raises(
        DataError, match="2 of 3 text files cannot be used, in .*0.txt .*; .*2.txt "
    ):
        labeled(tmp_path, "0 x", BOX, "7 0.5 0.5 0.1 0.1")


def test_repeated_lines_count_once(tmp_path):
    dataset = labeled(tmp_path, f"{BOX}\n" * 3 + f"1{BOX[1:]}\n")
    assert len(dataset.record(0)["gt_bbox"]) == len(dataset.to_coco()["annotations"]) == 2
    assert "dropped 2 repeated" in dataset.report_lines[1]


def test_unreadable_images_stay_and_are_named(yolo):
    path = yolo / "images" / "train" / "b.png"
    path.write_bytes(b"<html>404</html>")
    dataset = YOLODataSet(str(yolo), "images/train")
    assert len(dataset) == 3
    (line,) = [line for line in dataset.report_lines if line.startswith("images that cannot be")]
    assert str(path) in line and list(dataset.unreadable_files()) == [str(path)]


def test_the_folder_of_missing_labels_is_named(yolo):
    (yolo / "labels").rename(yolo / "label")
    lines = YOLODataSet(str(yolo), "images/train").report_lines
    searched = f"{yolo}/labels/train (no such folder) and {yolo}/images/train"
    text = f"labels: 3 of 3 images have no text file in {searched}, and count as images without"
    assert any(line.startswith(text) for line in lines)


@pytest.mark.parametrize("ending", [".JPG", ".jpe", ".jfif", ".gif", ".dib", ".ppm"])
def test_every_ending_that_can_be_read(yolo, ending):
    folder = yolo / "images" / "train"
    (folder / "a.jpg").rename(folder / f"a{ending}")
    (folder / "d.heic").write_bytes(b"")
    dataset = YOLODataSet(str(yolo), "images/train")
    assert len(dataset.record(0)["gt_bbox"]) == 2
    assert any("1 .heic" in line for line in dataset.report_lines)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("names: [a, a]", "'a' stands already"),
        ("names: {0: a, b: c}", "names: found {0: 'a', 'b': 'c'}"),
        ("names: [a, b]\nnc: 3", "nc: found 3, allowed: 2, the number of names"),
        ("nc: 3", "names: found None"),
        ("names: [a, 2020-99-99, [b]]", "names: found "),
    ],
)
def test_unusable_names(tmp_path, text, problem):
    with pytest.raises(DataError, match=f"data.yaml.*: {problem}"):
        labeled(tmp_path, BOX, names=text)


def test_the_shipped_sections_read_their_layouts(tmp_path, repo):
    for split in ("train", "val"):
        image(tmp_path / "images" / split / f"{split}.png")
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "labels" / split / f"{split}.txt").write_text("1 0.5 0.5 0.2 0.4\n")
    (tmp_path / "data.yaml").write_text("names: [dog, cat]\n")
    (tmp_path / "obj.names").write_text("dog\ncat\n")
    for file, split in (("train.txt", "train"), ("valid.txt", "val")):
        (tmp_path / file).write_text(f"data/images/{split}/{split}.png\n")
    for name in ("yolo_txt", "yolo_list"):
        sections = ("TrainDataset", "EvalDataset", "TestDataset")
        changes = [f"{section}.dataset_dir={tmp_path}" for section in sections]
        changes.append("TrainDataset.repeat_threshold=0.5")
        cfg = load_config(repo / "configs" / "datasets" / f"{name}.yml", changes)
        train, val, test = (create(section, cfg) for section in sections)
        assert train.class_names == val.class_names == test.class_names == ["dog", "cat"], name
        for dataset, split in ((train, "train"), (val, "val")):
            assert dataset.image_path(0).endswith(f"{split}.png")
            assert dataset.record(0)["gt_bbox"].tolist() == [[40, 18, 60, 42]]
