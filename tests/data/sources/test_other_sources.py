"""YOLODataSet, ImageFolder, lists of class names, annotation tables and box cleaning."""

import json

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.annotation_table import StringColumn
from ppdet_lite.data.sources.box_cleaning import clean_boxes
from ppdet_lite.data.sources.coco_categories import COCO_CATEGORIES
from ppdet_lite.data.sources.image_folder import ImageFolder
from ppdet_lite.data.sources.label_lists import compare_class_names, read_label_list
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


# ----------------------------------------------------------------------------------------- YOLO
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
    (tmp_path / "data.yaml").write_text("names: 5\n")
    with pytest.raises(DataError, match="names: found 5, allowed: a list of class names"):
        YOLODataSet(str(tmp_path), "")


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
    with pytest.raises(DataError, match="YOLO labels hold class numbers only; name the classes in"):
        YOLODataSet(str(yolo), "images/train")
    (yolo / "none").mkdir()
    (yolo / "classes.txt").write_text("dog\ncat\n")
    with pytest.raises(DataError, match="holds no images"):
        YOLODataSet(str(yolo), "none")


# ----------------------------------------------------------------------------------- ImageFolder
def test_image_folder_walks_folders_in_order(tmp_path):
    for name in ("b/2.JPG", "b/1.jpeg", "a.Png", "z.jpg"):
        image(tmp_path / name.lower())
        (tmp_path / name.lower()).rename(tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    folder = ImageFolder()
    assert len(folder) == 0 and folder.class_names == []
    folder.set_images([tmp_path / "z.jpg", tmp_path])
    names = [folder.image_path(i)[len(str(tmp_path)) + 1 :] for i in range(len(folder))]
    assert names == ["z.jpg", "a.Png", "b/1.jpeg", "b/2.JPG"]
    record = folder.record(2)
    assert record["im_file"] == folder.image_path(2)
    assert record["im_id"].tolist() == [2] and record["im_id"].dtype == np.int64
    assert len(ImageFolder(str(tmp_path), "b")) == 2
    assert len(ImageFolder(str(tmp_path), "b", sample_num=1)) == 1
    (tmp_path / "z.jpg").unlink()
    assert folder.missing_files() == [str(tmp_path / "z.jpg")]


def test_a_folder_that_links_to_itself_is_walked_once(tmp_path):
    image(tmp_path / "a" / "1.jpg")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    folder = ImageFolder()
    folder.set_images([tmp_path / "a"])
    assert len(folder) == 1


def test_image_folder_complaints(tmp_path):
    folder = ImageFolder()
    with pytest.raises(DataError, match=f"image {tmp_path}/q/x.jpg does not exist; the nearest"):
        folder.set_images([tmp_path / "q" / "x.jpg"])
    with pytest.raises(DataError, match=f"{tmp_path} holds no images \\(.jpg, .jpeg, .png"):
        folder.set_images([tmp_path])
    with pytest.raises(DataError, match="no images given"):
        folder.set_images([])


def test_class_names_of_an_image_folder(tmp_path):
    categories = [{"id": 5, "name": "b"}, {"id": 3, "name": "a"}]
    images = [{"id": 1, "file_name": "x.jpg", "width": 4, "height": 4}]
    (tmp_path / "a.json").write_text(json.dumps({"images": images, "categories": categories}))
    (tmp_path / "names.txt").write_text("dog\ncat\n")
    from_json = ImageFolder(str(tmp_path), anno_path="a.json")
    assert (from_json.class_names, from_json.category_ids) == (["b", "a"], [5, 3])
    from_text = ImageFolder(str(tmp_path), anno_path="names.txt")
    assert (from_text.class_names, from_text.category_ids) == (["dog", "cat"], [1, 2])
    missing = ImageFolder(str(tmp_path), anno_path="gone.json")
    assert missing.class_names == []
    assert missing.report_lines == [
        f"{tmp_path}/gone.json does not exist (from dataset_dir + anno_path): "
        "the class names are those stored with the weights"
    ]
    coco = ImageFolder(use_default_label=True)
    assert (len(coco.class_names), coco.class_names[79], coco.category_ids[79]) == (
        80,
        "toothbrush",
        90,
    )


def test_coco_names_are_those_of_the_annotations(shared_dir):
    path = shared_dir / "data/coco128/annotations/instances_train2017.json"
    categories = json.loads(path.read_text())["categories"]
    assert {category["id"]: category["name"] for category in categories} == COCO_CATEGORIES


# -------------------------------------------------------------------------------------- the rest
def test_label_lists(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffdog\r\n\r\n traffic light \r\n".encode())
    assert read_label_list(path) == ["dog", "traffic light"]
    path.write_text("dog\ncat\ndog\n")
    with pytest.raises(DataError) as caught:
        read_label_list(path)
    assert str(caught.value) == f"{path} line 3: 'dog' stands already in line 1"
    path.write_text("\n")
    with pytest.raises(DataError, match="no class names in it; one per line is needed"):
        read_label_list(path)


def test_class_name_comparison():
    assert compare_class_names(["a", "b"], ("a", "b")) == ""
    assert compare_class_names(["a", "b", "c"], ["a", "c", "b"]) == (
        "have the same classes in another order: class 1 is 'b' in one and 'c' in the other. "
        "Write the `categories` (or label list) in the same order"
    )
    assert compare_class_names(["dog", "cat"], ["cat", "Dog"]) == (
        "have different classes: only in the first: dog; only in the second: Dog; "
        "did you mean 'dog'?"
    )
    assert compare_class_names([str(n) for n in range(14)], []) == (
        "have different classes: only in the first: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 4 more; "
        "only in the second: none"
    )


def test_strings_as_one_block():
    names = ["a.jpg", "", "Überfall/ä.png", "bad\udcff.jpg"]
    column = StringColumn(names)
    assert [column[i] for i in range(len(column))] == names


def test_cleaning_leaves_its_input_alone_and_takes_no_boxes():
    boxes = np.array([[5.0, 5.0, 1.0, 1.0]])
    cleaned = clean_boxes(boxes, np.array([10]), np.array([10]))
    assert boxes.tolist() == [[5, 5, 1, 1]]
    assert cleaned.boxes_xyxy.tolist() == [[1, 1, 5, 5]] and cleaned.keep.tolist() == [True]
    none = clean_boxes(np.zeros((0, 4)), np.zeros(0), np.zeros(0))
    assert none.boxes_xyxy.shape == (0, 4) and none.keep.shape == (0,)


def test_made_by_a_configuration(tmp_path, tiny_coco):
    from ppdet_lite.core.workspace import create, load_config

    path = tmp_path / "a.yml"
    path.write_text(
        "TrainDataset:\n  name: COCODataSet\n  image_dir: images\n"
        f"  anno_path: annotations/train.json\n  dataset_dir: {tiny_coco}\n"
        "  data_fields: [image, gt_bbox, gt_class, is_crowd]\n  allow_empty: false\n"
        "EvalDataset: !VOCDataSet {dataset_dir: x, anno_path: a.txt, label_list: l.txt}\n"
        f"TestDataset: !ImageFolder {{dataset_dir: {tiny_coco}, anno_path: annotations/val.json}}\n"
    )
    cfg = load_config(path)
    assert len(create("TrainDataset", cfg)) == 7
    assert create("TestDataset", cfg).class_names == ["square", "circle"]
    with pytest.raises(DataError, match="file x/a.txt does not exist"):
        create("EvalDataset", cfg)
