"""ImageFolder: the images that it finds and the classes that it knows."""

import json

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.data.sources.coco_categories import COCO_CATEGORIES
from ppdet_lite.data.sources.image_folder import ImageFolder


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def test_image_folder_walks_folders_in_order(tmp_path):
    for name in ("b/2.JPG", "b/1.jpeg", "a.Png", "z.jpg"):
        touch(tmp_path / name)
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
    for number in (0, -2):
        with pytest.raises(ConfigError, match=f"sample_num: found {number}"):
            ImageFolder(str(tmp_path), "b", sample_num=number)
    (tmp_path / "z.jpg").unlink()
    assert list(folder.unreadable_files("none")) == [str(tmp_path / "z.jpg")]


def test_image_folder_complaints(tmp_path):
    folder = ImageFolder()
    with pytest.raises(DataError, match=f"{tmp_path}/q/x.jpg does not exist.*the nearest"):
        folder.set_images([tmp_path / "q" / "x.jpg"])
    with pytest.raises(DataError, match=f"{tmp_path}: no images"):
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
    assert "gone.json does not exist (from dataset_dir + anno_path)" in missing.report_lines[0]
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
