"""The contract of data sets, for our own and for those of users."""

import re

import numpy as np
import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.data.sources.dataset import Dataset, as_dataset


class Labeled(Dataset):
    """A user's data set: two methods, all others follow."""

    def __len__(self):
        return 2

    def record(self, index):
        boxes = [[1, 2, 4, 8]] * index
        return {
            "im_file": f"/nowhere/{index}.jpg",
            "im_id": np.array([index + 5]),
            "h": 20,
            "w": 30,
            "gt_bbox": np.array(boxes, np.float32).reshape(-1, 4),
            "gt_class": np.zeros((index, 1), np.int32),
        }


class Plain:
    """No Dataset, but it has what a reader needs."""

    def __len__(self):
        return 3

    def record(self, index):
        return {"im_file": f"{index}.jpg", "im_id": np.array([index])}


def test_everything_follows_from_length_and_record():
    dataset = Labeled("mine", ["dog"])
    assert as_dataset(dataset) is dataset
    assert (dataset.name, dataset.class_names, dataset.category_ids) == ("mine", ["dog"], [1])
    assert dataset.report_lines == []
    assert dataset.image_path(1) == "/nowhere/1.jpg"
    assert list(dataset.unreadable_files("none")) == ["/nowhere/0.jpg", "/nowhere/1.jpg"]
    truth = dataset.to_coco()
    assert truth["images"][0] == {
        "id": 5, "file_name": "/nowhere/0.jpg", "width": 30, "height": 20
    }  # fmt: skip
    assert truth["categories"] == [{"id": 1, "name": "dog"}]
    (box,) = truth["annotations"]
    expected = {"id": 1, "image_id": 6, "category_id": 1, "bbox": [1, 2, 3, 6], "area": 18}
    assert box == {**expected, "iscrowd": 0, "difficult": 0, "ignore": 0}


def test_any_object_with_length_and_record_becomes_a_data_set():
    dataset = as_dataset(Plain())
    assert (dataset.name, dataset.class_names, dataset.category_ids) == ("Plain", [], [])
    assert len(dataset) == 3 and dataset.record(2)["im_file"] == "2.jpg"
    assert dataset.image_path(1) == "1.jpg"
    assert dataset.unreadable_files("none") == {}  # it does not say that its images are files
    assert [image["id"] for image in dataset.to_coco()["images"]] == [0, 1, 2]


def test_members_of_the_object_are_kept():
    plain = Plain()
    plain.name, plain.class_names, plain.category_ids = "p", ["a", "b"], [3, 7]
    plain.report_lines, plain.to_coco = ["line"], lambda: {"images": []}
    plain.image_path, plain.color = "/nowhere/{}".format, "red"
    dataset = as_dataset(plain)
    assert (dataset.name, dataset.class_names, dataset.category_ids) == ("p", ["a", "b"], [3, 7])
    assert dataset.report_lines == ["line"] and dataset.to_coco() == {"images": []}
    assert list(dataset.unreadable_files("none")) == [f"/nowhere/{i}" for i in range(3)]
    assert dataset.color == "red" and not hasattr(dataset, "size")


def test_made_by_a_configuration(tmp_path, tiny_coco):
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


def test_the_data_format_of_the_architecture_page(tmp_path, repo):
    page = (repo / "docs" / "architecture.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python my_data\.py\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my_data.py").write_text(code)
    lines = ["b.jpg,40,60,cat,5,5,70,20", "b.jpg,40,60,ant,9,9,1,2", "a.jpg,30,30,cat,1,1,1,9"]
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    path = tmp_path / "a.yml"
    section = f"{{name: CSVDataSet, dataset_dir: {tmp_path}, anno_path: boxes.csv, repeat: 2}}"
    path.write_text(f"custom_modules: [my_data.py]\nTrainDataset: {section}\n")
    dataset = create("TrainDataset", load_config(path))
    assert (len(dataset), dataset.class_names) == (4, ["ant", "cat"])
    assert dataset.record(2)["gt_bbox"].tolist() == [[5, 5, 60, 20], [1, 2, 9, 9]]
    assert dataset.record(1)["im_file"] == str(tmp_path / "a.jpg")
    assert "dropped 1 of zero area (first: a.jpg)" in dataset.report_lines[1]
