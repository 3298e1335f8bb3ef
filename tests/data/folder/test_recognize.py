"""Every layout of a folder is recognized and gives the same boxes."""

import json
import os
import re

import numpy as np
import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.folder.recognize import recognize
from tests.data.folder import layouts

CASES = [(name, make) for name, makers in layouts.LAYOUTS.items() for make in makers]


def objects_of(dataset) -> dict:
    """Name of an image, up to its first dot or underscore -> its objects."""
    found = {}
    for index in range(len(dataset)):
        record = dataset.record(index)
        assert os.path.isfile(record["im_file"]), record["im_file"]
        name = os.path.basename(record["im_file"])[0]
        boxes = [tuple(map(int, np.rint(box))) for box in record["gt_bbox"]]
        found[name] = sorted(zip(record["gt_class"][:, 0].tolist(), boxes))
    return found


def expected(*splits: str) -> dict:
    return {n: sorted(o) for split in splits for n, o in layouts.IMAGES[split].items()}


@pytest.mark.parametrize(("name", "make"), CASES, ids=[make.__name__ for _, make in CASES])
def test_layouts(tmp_path, name, make):
    make(tmp_path)
    reading = recognize(tmp_path)
    assert reading.format == name
    assert reading.class_names == layouts.NAMES
    lines = reading.lines()
    assert len(lines) == 3
    assert "6 of 2 classes" in lines[2]
    if make.__name__ in layouts.WITHOUT_SPLITS:
        assert objects_of(reading.dataset("train")) == expected("train", "val")
        assert [*reading.sections] == ["train"]
        assert "no val" in lines[1]
    else:
        assert objects_of(reading.dataset("train")) == expected("train")
        assert objects_of(reading.dataset("val")) == expected("val")


def test_a_folder_of_two_formats_lists_the_readings(tmp_path):
    layouts.voc_labelimg(tmp_path)
    layouts.yolo_labelimg(tmp_path)
    with pytest.raises(DataError, match=r"2 ways.*\n.*`data_format` voc.*\n.*`data_format` yolo"):
        recognize(tmp_path)
    assert recognize(tmp_path, "yolo").dataset("train").class_names == layouts.NAMES
    with pytest.raises(DataError, match="found vok, allowed here: voc, yolo, .*'voc'"):
        recognize(tmp_path, "vok")


def test_two_readings_of_one_format_have_names(tmp_path):
    layouts.coco_cvat(tmp_path)
    layouts.coco_paths(tmp_path)
    with pytest.raises(DataError, match=r"coco:annotations/instances_default.json"):
        recognize(tmp_path, "coco")
    assert recognize(tmp_path, "coco:result.json").place == "result.json"


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        recognize(tmp_path / "none")
    with pytest.raises(DataError, match="no images"):
        recognize(tmp_path)
    layouts.image(tmp_path / "a.jpg")
    layouts.write(tmp_path / "readme.txt", "hello")
    with pytest.raises(DataError, match="no annotations found .1 images, 1 .txt., allowed: COCO"):
        recognize(tmp_path)


def test_yolo_without_class_names_asks_for_them(tmp_path):
    layouts.yolo_labelimg(tmp_path)
    (tmp_path / "classes.txt").unlink()
    reading = recognize(tmp_path)
    assert "classes.txt" in reading.title
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "classes.txt"))):
        reading.dataset("train")


def test_yolo_labels_in_a_folder_of_another_name(tmp_path):
    layouts.yolo_labelimg(tmp_path)
    (tmp_path / "pics").mkdir()
    for path in [*tmp_path.glob("*.jpg")]:
        path.rename(tmp_path / "pics" / path.name)
    reading = recognize(tmp_path)
    assert reading.title == "YOLO txt (in .)"
    assert objects_of(reading.dataset("train")) == expected("train", "val")


def test_a_file_without_a_split_in_its_name_is_the_training_data(tmp_path):
    layouts.coco_roboflow(tmp_path)
    (tmp_path / "valid/_annotations.coco.json").rename(tmp_path / "valid.json")
    (tmp_path / "train/_annotations.coco.json").rename(tmp_path / "all.json")
    sections = recognize(tmp_path).sections
    files = {split: section["anno_path"] for split, section in sections.items()}
    assert files == {"train": "all.json", "val": "valid.json"}


def test_paths_of_another_machine(tmp_path):
    for name in "ab":
        layouts.image(tmp_path / f"csv/photos/{name}.jpg")
        layouts.image(tmp_path / f"labelme/photos/{name}.jpg")
        layouts.image(tmp_path / f"coco/photos/{name}.jpg")
        text = layouts.labelme([(0, (1, 2, 30, 40))], f"C:\\Users\\me\\{name}.jpg")
        layouts.write(tmp_path / f"labelme/json/{name}.json", text)
    rows = "C:\\me\\a.jpg,1,2,30,40,cat\nC:\\me\\b.jpg,1,2,30,40,cat\n"
    layouts.write(tmp_path / "csv/boxes.csv", rows)
    objects = dict.fromkeys("ab", [(0, (1, 2, 30, 40))])
    layouts.write(tmp_path / "coco/all.json", layouts.coco(objects, "..\\upload\\1\\{}.jpg"))
    for folder in ("csv", "labelme", "coco"):
        dataset = recognize(tmp_path / folder).dataset("train")
        assert objects_of(dataset) == {name: [(0, (1, 2, 30, 40))] for name in "ab"}


def test_labelme_shapes(tmp_path):
    shapes = [
        {"label": "cat", "points": [[1, 1], [20, 5], [10, 30]], "shape_type": "polygon"},
        {"label": "cat", "points": [[30, 20], [35, 20]], "shape_type": "circle"},
        {"label": "dog", "points": [[3, 3]], "shape_type": "point"},
    ]
    content = {"shapes": shapes, "imagePath": "a.jpg", "imageHeight": 48, "imageWidth": 64}
    layouts.write(tmp_path / "a.json", json.dumps(content))
    layouts.image(tmp_path / "a.jpg")
    dataset = recognize(tmp_path).dataset("train")
    assert objects_of(dataset) == {"a": [(0, (1, 1, 20, 30)), (0, (25, 15, 35, 25))]}
    assert dataset.report_lines[-1].startswith("points: 1 shapes")


@pytest.mark.parametrize(
    "make, file, text, match",
    [
        (layouts.csv_plain, "train.csv", "images/a.jpg,1,2,x,4,cat", "train.csv line 5: x2: found"),
        (layouts.csv_plain, "train.csv", "images/a.jpg,1,2,3,4,", "line 5: class: empty"),
        (layouts.csv_plain, "train.csv", "images/a.jpg,1,2,3,4,cow", "line 5: class: 'cow' is not"),
        (layouts.csv_plain, "train.csv", "images/a.jpg,1", "line 5: found 2 columns"),
        (layouts.labelme_folder, "a.json", "{", "a.json: not JSON"),
        (layouts.voc_labelimg, "a.xml", "<", "a.xml line"),
        (layouts.yolo_labelimg, "a.txt", "9 0.1 0.1 0.1 0.1", "a.txt line 2: class: found 9"),
        (layouts.yolo_darknet, "train.txt", "obj/none.jpg", "train.txt line 4: obj/none.jpg does"),
    ],
)
def test_broken_files_are_named(tmp_path, make, file, text, match):
    make(tmp_path)
    with open(tmp_path / file, "a") as stream:
        stream.write(text)
    with pytest.raises(DataError, match=match):
        recognize(tmp_path).dataset("train")


def test_trainval_is_the_training_data_where_there_is_no_train(tmp_path):
    layouts.voc_image_sets(tmp_path)
    (tmp_path / "ImageSets/Main/train.txt").unlink()
    (tmp_path / "ImageSets/Main/val.txt").unlink()
    layouts.write(tmp_path / "ImageSets/Main/test.txt", "e\n")
    assert [*recognize(tmp_path).sections] == ["train", "test"]


def test_bccd(shared_dir):
    reading = recognize(shared_dir / "data" / "bccd")
    assert reading.lines()[1:] == [
        "images: train 205, val 87",
        "objects: 3941 of 3 classes: RBC 3348, WBC 301, Platelets 292",
    ]


@pytest.mark.parametrize(
    "make",
    [
        layouts.voc_image_sets,
        layouts.voc_labelimg,
        layouts.yolo_labelimg,
        layouts.yolo_ultralytics,
        layouts.yolo_lists,
        layouts.labelme_folder,
        layouts.coco_cvat,
    ],
)
def test_endings_in_upper_case(tmp_path, make):
    make(tmp_path)
    for path in sorted(tmp_path.rglob("*")):
        if path.suffix in (".json", ".xml") or (path.suffix == ".txt" and len(path.stem) == 1):
            path.rename(path.with_suffix(path.suffix.upper()))
    parts = [objects_of(dataset) for dataset in recognize(tmp_path).datasets().values()]
    assert {name: o for part in parts for name, o in part.items()} == expected("train", "val")
    assert recognize(tmp_path).class_names == layouts.NAMES


def test_the_columns_of_tables(tmp_path):
    layouts.image(tmp_path / "a.jpg")
    (tmp_path / "l.csv").write_text("class;filename;xmin;ymin;xmax;ymax\ncat;a.jpg;1;2;30;40\n")
    title = recognize(tmp_path).title
    assert title == "CSV (l.csv: class,filename,xmin,ymin,xmax,ymax)"
    (tmp_path / "l.csv").write_text("ImageID,XMin,XMax,YMin,YMax,LabelName\na,0,1,0,1,cat\n")
    with pytest.raises(DataError, match="l.csv has the columns ImageID,XMin,.*, not path,x1,y1"):
        recognize(tmp_path)
