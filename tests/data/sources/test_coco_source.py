"""COCODataSet: records, repairs, ground truth and the texts of its complaints."""

import json
import re

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError, DataError
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
    boxes = [[0, 0, 9, 9 + i] for i in range(4)] + [[90, 70, 30, 25], [0, 0, 9, 8]]
    rows = [box(i + 1, 1, xywh, segmentation=o) for i, (xywh, o) in enumerate(zip(boxes, outlines))]
    write(tmp_path, annotations=rows)
    dataset = load(tmp_path)
    record = dataset.record(0)
    assert [len(own) for own in record["gt_poly"]] == [1, 0, 0, 0, 1, 2]
    assert record["gt_bbox"][:4].tolist() == [[0, 0, 9, 9 + i] for i in range(4)]
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


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"bbox": None}, "bbox: found None"),
        ({"bbox": [1, 2, 3]}, "bbox: found [1, 2, 3], allowed: four numbers"),
        ({"bbox": [1, 2, "3", 4]}, "bbox: found [1, 2, '3', 4]"),
        ({"bbox": [1, 2, 10**400, 4]}, "bbox: found [1, 2, 1000"),
        ({"area": "big"}, "area: found 'big', allowed: a number"),
        ({"id": 2**70}, f"id: found {2**70}, allowed: an integer"),
        ({"image_id": "1"}, "image_id: found '1', allowed: an integer"),
        ({"category_id": 1.5}, "category_id: found 1.5"),
        ({"category_id": 5}, "category_id: 5 is the id of no category"),
        ({"image_id": 77}, "image_id: 77 is the id of no image"),
        ({"segmentation": [["a"] * 6]}, "segmentation: found a polygon"),
    ],
)
def test_unusable_annotations_are_named_with_line_and_key(tmp_path, changes, expected):
    bad = {**box(2, 1, [0, 0, 5, 5]), **changes}
    write(tmp_path, annotations=[box(1, 1, [0, 0, 5, 5]), bad], indent=0)
    lines = (tmp_path / "a.json").read_text().split("\n")
    line = [number for number, text in enumerate(lines, start=1) if text == "{"][3]
    refuse(tmp_path, f" line {line}: annotations[1].{expected}")


def test_whole_numbers_may_be_written_as_decimals(tmp_path):
    write(tmp_path, [image(1.0, width=100.0)], [box(1.0, 1.0, [0, 0, 5, 5], category=2.0)])
    record = load(tmp_path).record(0)
    assert (record["w"], record["gt_class"].tolist()) == (100, [[1]])


@pytest.mark.parametrize("key", ["image_id", "category_id", "bbox"])
def test_missing_annotation_keys(tmp_path, key):
    bad = box(1, 1, [0, 0, 5, 5])
    del bad[key]
    write(tmp_path, annotations=[bad])
    refuse(tmp_path, f" line 1: annotations[0].{key}: missing")


def test_an_annotation_that_is_none(tmp_path):
    write(tmp_path, annotations=[{"id": 3}])
    refuse(tmp_path, " line 1: annotations[0].image_id: missing")


@pytest.mark.parametrize(
    "images, expected",
    [
        ([image(1), image(1, file_name="b.jpg")], "images[1].id: 1 is already the id of images[0]"),
        ([image("x")], "images[0].id: found 'x', allowed: an integer"),
        ([image(1, width=0)], "images[0].width: found 0, allowed: a positive integer"),
        ([image(1, height=None)], "images[0].height: found None"),
        ([image(1, file_name=5)], "images[0].file_name: found 5, allowed: text"),
        ([{"id": 1, "width": 3, "height": 3}], "images[0].file_name: missing"),
        ([{"id": 1, "file_name": "a", "height": 3}], "images[0].width: missing"),
        (["a.jpg"], "images[0].id: found 'a.jpg'"),
    ],
)
def test_unusable_images(tmp_path, images, expected):
    write(tmp_path, images)
    refuse(tmp_path, f" line 1: {expected}")


@pytest.mark.parametrize(
    "categories, expected",
    [
        ([{"id": 1, "name": "a"}] * 2, "categories[1].id: 1 is already the id of categories[0]"),
        ([{"id": 1, "name": "a"}, {"id": 2, "name": "a"}], "categories[1].name: 'a' is already"),
        ([{"id": 1}], "categories[0].name: missing"),
    ],
)
def test_unusable_categories(tmp_path, categories, expected):
    write(tmp_path, categories=categories)
    refuse(tmp_path, f" line 1: {expected}")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", ": the file is empty"),
        ('{"images": [1,\n 2,,]}', " line 2, column 4: not JSON: Expecting value"),
        ("[]", ": not a COCO annotation file: found a list at the top"),
        ("3", ": not a COCO annotation file: found no mapping at the top"),
        ('{"shapes": []}', ": not a COCO annotation file: 'images' is missing, found shapes;"),
        ('{"images": {}, "categories": []}', ": images: found dict, allowed: a list"),
        ('{"images": [], "categories": []}', ": the list 'images' is empty"),
        ("[" * 100_000, ": not a COCO annotation file: nested too deeply"),
    ],
)
def test_files_that_are_not_coco(tmp_path, text, expected):
    (tmp_path / "a.json").write_text(text)
    refuse(tmp_path, expected)


def test_mappings_elsewhere_may_have_any_keys(tmp_path):
    inner = {"track_id": 1, "bbox": [1, 2], "image_id": "cam-3"}
    extra = {"image_id": 1, "category_id": 9, "bbox": [1, 2, 3, 4]}
    images, boxes = [image(1, **extra)], [box(1, 1, [0, 0, 9, 9], attributes=inner)]
    content = {"info": {"example": inner, "annotations": [extra]}, "images": images}
    content = {**content, "annotations": boxes, "categories": [*CATEGORIES], "extra": [extra]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert load(tmp_path).record(0)["gt_bbox"].tolist() == [[0, 0, 9, 9]]


def test_not_text(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    refuse(tmp_path, ": not text in UTF-8 (byte 0)")


def test_missing_paths_name_the_key_and_the_nearest_folder(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "val.json").write_text("{}")
    with pytest.raises(DataError) as caught:
        COCODataSet(str(tmp_path), "images", "annotations/train.json")
    assert str(caught.value) == (
        f"file {tmp_path}/annotations/train.json does not exist (from dataset_dir + anno_path); "
        f"the nearest folder that exists is {tmp_path}/annotations, which holds val.json"
    )
    with pytest.raises(DataError) as caught:
        COCODataSet(str(tmp_path), "images/train", "annotations/val.json")
    assert str(caught.value).startswith(
        f"folder {tmp_path}/images/train does not exist (from dataset_dir + image_dir); "
        f"the nearest folder that exists is {tmp_path}, which holds annotations"
    )
    with pytest.raises(DataError, match="is a folder, but dataset_dir . anno_path must name a fi"):
        COCODataSet(str(tmp_path), "", "annotations")


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


def test_lists_of_the_same_name_elsewhere_do_not_move_the_line(tmp_path):
    content = {"info": {"images": [1]}, "images": [image(1), image(2), {"id": 3}]}
    (tmp_path / "a.json").write_text(json.dumps({**content, "categories": CATEGORIES}, indent=0))
    refuse(tmp_path, " line 20: images[2].width: missing")
