"""COCODataSet: records, repairs and ground truth."""

import json

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.sources.coco import COCODataSet
from tests.data.sources.coco_files import CATEGORIES, box, image, load, refuse, write


def test_classes_are_numbered_in_file_order_and_images_go_by_id(tmp_path):
    write(
        tmp_path,
        [image(7), image(3, file_name="sub/x.png")],
        [box(1, 7, [10, 20, 30, 40]), box(2, 3, [1, 2, 3, 4], category=2)],
    )
    dataset = load(tmp_path)
    assert dataset.class_names == ["zebra", "ant"]
    assert dataset.category_ids == [9, 2]
    first, second = dataset.record(0), dataset.record(1)
    assert first["im_file"] == str(tmp_path / "sub/x.png")
    assert first["im_id"].tolist() == [3] and first["im_id"].dtype == np.int64
    assert first["gt_class"].tolist() == [[1]] and first["gt_class"].dtype == np.int32
    assert second["gt_bbox"].tolist() == [[10, 20, 40, 60]]
    assert second["gt_bbox"].dtype == np.float32
    assert second["gt_score"].tolist() == [[1.0]] and second["is_crowd"].tolist() == [[0]]
    assert (second["h"], second["w"]) == (80, 100)
    assert "gt_poly" not in second and "difficult" not in second


def test_a_record_may_be_changed(tmp_path):
    write(
        tmp_path, annotations=[box(1, 1, [10, 20, 30, 40], segmentation=[[10, 20, 40, 20, 40, 60]])]
    )
    dataset = load(tmp_path)
    record = dataset.record(0)
    record["gt_bbox"][:] = -1
    record["gt_poly"][0][0][:] = -1
    record["im_id"][:] = -1
    again = dataset.record(0)
    assert again["gt_bbox"].tolist() == [[10, 20, 40, 60]]
    assert again["gt_poly"][0][0].tolist() == [[10, 20], [40, 20], [40, 60]]
    assert again["im_id"].tolist() == [1]


def test_polygons_that_do_not_fit_their_boxes_are_left_out_and_counted(tmp_path):
    outlines = [
        [[0, 0, 9.6, 0, 9, 9]],  # rounded
        [[20, 20, 29, 20, 29, 29]],  # of another object
        [[0, 0, 0.1, 0, 0.1, 0.1]],  # shares
        [],
        [[90, 70, 120, 70, 120, 95]],  # leaves the image with its box
        [[0, 0, 5, 0, 5, 9], [6, 0, 9, 0, 9, 9]],  # two parts
    ]
    boxes = [[0, 0, 9, 9 + i / 8] for i in range(4)] + [[90, 70, 30, 25], [0, 0, 9, 8.5]]
    rows = [box(i + 1, 1, xywh, segmentation=o) for i, (xywh, o) in enumerate(zip(boxes, outlines))]
    write(tmp_path, annotations=rows)
    dataset = load(tmp_path)
    record = dataset.record(0)
    assert [len(own) for own in record["gt_poly"]] == [1, 0, 0, 0, 1, 2]
    assert record["gt_bbox"][:4].tolist() == boxes[:4]
    (line,) = [line for line in dataset.report_lines if line.startswith("polygons: ")]
    assert line.startswith("polygons: those of 2 objects do not fit") and "1.jpg" in line


def test_boxes_are_repaired_or_dropped_and_counted_in_one_line(tmp_path):
    write(
        tmp_path,
        [image(1), image(2)],
        [
            box(1, 1, [10, 10, 0, 5]),  # zero area
            box(2, 2, [10, 10, 5, 0]),  # zero area
            box(3, 1, [30, 30, -20, -10]),  # inverted
            box(4, 1, [200, 10, 5, 5]),  # outside
            box(5, 1, [90, 70, 30, 30]),  # partly outside
            box(6, 1, [float("nan"), 0, 5, 5]),
            box(7, 1, [0, 0, 100.4, 80]),  # within the tolerance
            box(8, 2, [1, 1, 5, 5], iscrowd=1),
        ],
    )
    dataset = load(tmp_path)
    expected = [[10, 20, 30, 30], [90, 70, 100, 80], [0, 0, 100, 80]]
    assert dataset.record(0)["gt_bbox"].tolist() == expected
    assert dataset.report_lines == [
        f"{tmp_path / 'a.json'}: 2 images, 3 boxes, 2 classes (zebra, ant)",
        "boxes: dropped 1 with NaN or infinite coordinates (first: 1.jpg), "
        "2 of zero area (first: 1.jpg), 1 outside the image (first: 1.jpg), "
        "1 crowd (first: 2.jpg); "
        "repaired 1 inverted (first: 1.jpg), 1 clipped to the image (first: 1.jpg)",
        "images without objects: 1 kept as negatives (allow_empty: false leaves them out)",
    ]


def test_crowds_only_when_asked_for(tmp_path):
    write(tmp_path, annotations=[box(1, 1, [0, 0, 9, 9]), box(2, 1, [0, 0, 50, 50], iscrowd=1)])
    assert load(tmp_path).record(0)["is_crowd"].tolist() == [[0]]
    assert load(tmp_path, load_crowd=True).record(0)["is_crowd"].tolist() == [[0], [1]]


def test_negatives_can_be_left_out_or_limited(tmp_path):
    images = [image(number) for number in range(1, 21)]
    write(tmp_path, images, [box(n, n, [0, 0, 9, 9]) for n in range(1, 9)])
    everything = load(tmp_path)
    assert len(everything) == 20
    assert everything.record(19)["gt_bbox"].shape == (0, 4)
    without = load(tmp_path, allow_empty=False)
    assert len(without) == 8
    assert without.report_lines[-1] == "images without objects: 12 left out"
    fifth = load(tmp_path, empty_ratio=0.2)  # 8 / (8 + 2)
    assert len(fifth) == 10
    ids = [int(fifth.record(i)["im_id"][0]) for i in range(10)]
    assert ids[:8] == list(range(1, 9)) and ids == sorted(ids)
    same = load(tmp_path, empty_ratio=0.2)
    assert ids == [int(same.record(i)["im_id"][0]) for i in range(10)]
    assert len(load(tmp_path, empty_ratio=0.0)) == 8


def test_sample_num_and_repeat(tmp_path):
    write(tmp_path, [image(n) for n in (1, 2, 3)], [box(1, 2, [0, 0, 9, 9])])
    dataset = load(tmp_path, sample_num=2, repeat=3)
    assert [int(dataset.record(i)["im_id"][0]) for i in range(6)] == [1, 2, 1, 2, 1, 2]
    assert [entry["id"] for entry in dataset.to_coco()["images"]] == [1, 2]
    assert list(dataset.unreadable_files("none")) == [
        str(tmp_path / "1.jpg"),
        str(tmp_path / "2.jpg"),
    ]
    for key, value in {"sample_num": 0, "repeat": 0, "empty_ratio": 2}.items():
        with pytest.raises(ConfigError, match=f"^{key}: found {value}, allowed: "):
            load(tmp_path, **{key: value})


def test_nothing_left_is_an_error(tmp_path):
    write(tmp_path)
    refuse(tmp_path, ": no image is left of 1: 1 have no box, allow_empty", allow_empty=False)


def test_ground_truth_is_that_of_the_file(tmp_path):
    annotations = [
        box(40, 1, [10, 10, 0, 5], area=3.0),
        box(41, 2, [90, 70, 30, 30], category=2),
        box(42, 1, [0, 0, 50, 50], iscrowd=1),
    ]
    write(tmp_path, [image(2), image(1)], annotations)
    truth = load(tmp_path).to_coco()
    order = [annotations[0], annotations[2], annotations[1]]
    assert truth["annotations"] == order
    assert truth["categories"] == CATEGORIES
    assert truth["images"] == [image(1), image(2)]


def test_missing_area_iscrowd_and_id_are_filled_in(tmp_path):
    plain = {"image_id": 1, "category_id": 9, "bbox": [0, 0, 4, 5]}
    write(tmp_path, annotations=[plain, plain])
    truth = load(tmp_path).to_coco()["annotations"]
    assert [(item["id"], item["area"], item["iscrowd"]) for item in truth] == [
        (1, 20, 0),
        (2, 20, 0),
    ]


def test_polygons_are_kept_and_run_length_masks_ignored(tmp_path):
    write(
        tmp_path,
        annotations=[
            box(1, 1, [0, 0, 9, 9], segmentation={"counts": [1, 2], "size": [80, 100]}),
            box(2, 1, [0, 0, 0, 9], segmentation=[[9, 9, 9, 9, 9, 9]]),  # dropped with its box
            box(3, 1, [0, 0, 9, 8], segmentation=[[0, 0, 9, 0, 9, 9], [1, 1, 2, 2], [5, 5] * 4]),
        ],
    )
    polygons = load(tmp_path).record(0)["gt_poly"]
    assert [len(rings) for rings in polygons] == [0, 2]
    assert polygons[1][0].tolist() == [[0, 0], [9, 0], [9, 9]]
    assert polygons[1][1].shape == (4, 2) and polygons[1][1].dtype == np.float32
    assert "gt_poly" not in load(tmp_path, use_polygons=False).record(0)


def test_a_file_without_annotations_holds_negatives_only(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"images": [image(1)], "categories": CATEGORIES}))
    dataset = load(tmp_path)
    assert len(dataset) == 1 and dataset.record(0)["gt_bbox"].shape == (0, 4)


def test_tiny_set(tiny_coco):
    dataset = COCODataSet(str(tiny_coco), "images", "annotations/train.json")
    assert (len(dataset), dataset.class_names) == (8, ["square", "circle"])
    assert dataset.unreadable_files("none") == {}


def test_coco128(shared_dir):
    folder = shared_dir / "data" / "coco128"
    dataset = COCODataSet(str(folder), "train2017", "annotations/instances_train2017.json")
    assert (len(dataset), len(dataset.class_names)) == (128, 80)
    assert dataset.category_ids[-1] == 90 and dataset.class_names[0] == "person"
    assert sum(len(dataset.record(i)["gt_bbox"]) for i in range(128)) == 929
    assert "images without objects: 2 kept as negatives" in dataset.report_lines[-1]
    assert dataset.unreadable_files("none") == {}
    without = COCODataSet(
        str(folder), "train2017", "annotations/instances_train2017.json", allow_empty=False
    )
    assert len(without) == 126


def test_the_root_category_of_an_export_is_left_out(tmp_path):
    root = {"id": 0, "name": "ant", "supercategory": "none"}
    ant = {"id": 1, "name": "ant", "supercategory": "ant"}
    line = "categories: id 0 has the name of another, 'ant', and no boxes; it is left out"
    for boxes in ([box(1, 1, [0, 0, 9, 9], category=1)], []):
        write(tmp_path, annotations=boxes, categories=[root, ant])
        dataset = load(tmp_path)
        assert (dataset.class_names, dataset.category_ids) == (["ant"], [1])
        assert line in dataset.report_lines
    both = [box(1, 1, [0, 0, 9, 9], category=1), box(2, 1, [0, 0, 9, 9], category=0)]
    write(tmp_path, annotations=both, categories=[root, ant])
    refuse(tmp_path, " line 1: categories[1].name: 'ant' is already the name of categories[0]")


def test_one_file_under_several_ids_is_one_image(tmp_path):
    images = [image(1, file_name="a.jpg"), image(2), image(3, file_name="./a.jpg")]
    write(tmp_path, images, [box(1, 3, [0, 0, 9, 9]), box(2, 1, [5, 5, 9, 9]), box(3, 2, [1] * 4)])
    dataset = load(tmp_path)
    assert len(dataset) == 2 and dataset.record(0)["im_id"].tolist() == [1]
    assert dataset.record(0)["gt_bbox"].tolist() == [[0, 0, 9, 9], [5, 5, 14, 14]]
    assert "images: 1 entries repeat a file, and are merged" in dataset.report_lines
    truth = dataset.to_coco()
    assert [item["id"] for item in truth["images"]] == [1, 2]
    assert [item["image_id"] for item in truth["annotations"]] == [1, 1, 2]


def test_repeated_boxes_are_dropped_and_counted(tmp_path):
    same = [box(n, 1, [0, 0, 9, 9]) for n in (1, 2, 3)]
    others = [box(4, 1, [0, 0, 9, 9], category=2), box(5, 2, [0, 0, 9, 9]), box(6, 1, [0, 0, 9, 8])]
    write(tmp_path, [image(1), image(2)], [*same, *others])
    dataset = load(tmp_path)
    assert [len(dataset.record(i)["gt_bbox"]) for i in (0, 1)] == [3, 1]
    assert dataset.report_lines[1] == (
        "boxes: dropped 2 repeated (same image, class and corners) (first: 1.jpg)"
    )
    assert len(dataset.to_coco()["annotations"]) == 6  # evaluated as the file has them


def test_boxes_as_shares_of_the_image(tmp_path):
    shares = [box(1, 1, [0.2, 0.2, 0.3, 0.4]), box(2, 1, [0, 0, 1, 1])]
    write(tmp_path, annotations=shares)
    refuse(tmp_path, ": all 2 boxes lie between 0 and 1, as shares of the image do")
    write(tmp_path, annotations=[*shares, box(3, 1, [0, 0, 9, 9])])
    assert load(tmp_path).box_count == 3


def test_a_size_that_is_missing_is_that_of_the_file(tmp_path):
    assert cv2.imwrite(str(tmp_path / "1.jpg"), np.zeros((30, 50, 3), np.uint8))
    for changes in ({"width": 0}, {"height": None}, {"height": 0, "width": 0}):
        write(tmp_path, [image(1, **changes)], [box(1, 1, [0, 0, 90, 90])])
        dataset = load(tmp_path)
        assert dataset.record(0)["gt_bbox"].tolist() == [[0, 0, 50, 30]]
        assert any(line.startswith("sizes: 1 are not in ") for line in dataset.report_lines)
