"""Fields of COCO files: values by type, and the texts of complaints."""

import json

import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.coco import COCODataSet
from tests.data.sources.coco_files import CATEGORIES, box, image, load, refuse, write


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
        ({"segmentation": [[1, 2, 10**400, 4, 5, 6]]}, "segmentation: found a polygon"),
        ({"segmentation": [[1, 2, float("nan"), 4, 5, 6]]}, "segmentation: found a polygon"),
        ({"iscrowd": "maybe"}, "iscrowd: found 'maybe', allowed: 0, 1, true or false"),
        ({"iscrowd": 2}, "iscrowd: found 2"),
        ({"iscrowd": [0]}, "iscrowd: found [0]"),
        ({"image_id": True}, "image_id: found True, allowed: an integer"),
        ({"bbox": [True, 0, 5, 5]}, "bbox: found [True, 0, 5, 5]"),
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
        ([image(1, width=2**63 - 1)], "images[0].width: found 9223372036854775807, allowed: a pos"),
        ([image(1, file_name="a\0b")], "images[0].file_name: found 'a"),
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
        ('{"images": [{"id": 1}}', " line 1, column 22: not JSON: Expecting , or ]"),
        ('{"images": [1],}', " line 1, column 16: not JSON: Expecting a key in quotes"),
        ("{} {}", " line 1, column 4: not JSON: Expecting"),
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
    (tmp_path / "a.json").write_bytes(b"\xff\x00")
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


def test_lists_of_the_same_name_elsewhere_do_not_move_the_line(tmp_path):
    content = {"info": {"images": [1]}, "images": [image(1), image(2), {"id": 3}]}
    (tmp_path / "a.json").write_text(json.dumps({**content, "categories": CATEGORIES}, indent=0))
    refuse(tmp_path, " line 20: images[2].width: missing")


def test_a_number_of_many_digits(tmp_path):
    write(tmp_path, annotations=[box(1, 1, [0, 0, 9, 9])], indent=0)
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace("7.5", "9" * 5000))
    refuse(tmp_path, " line 1")


@pytest.mark.parametrize(
    "values, flags",
    [(["0", "1", " 1", "True"], [0, 1, 1, 1]), ([True, False, 1.0, None], [1, 0, 1, 0])],
)
def test_iscrowd_counts_by_its_meaning(tmp_path, values, flags):
    boxes = [box(n, 1, [0, 0, 9, 9 + n], iscrowd=value) for n, value in enumerate(values)]
    write(tmp_path, annotations=boxes)
    dataset = load(tmp_path, load_crowd=True)
    assert dataset.record(0)["is_crowd"].ravel().tolist() == flags
    assert [item["iscrowd"] for item in dataset.to_coco()["annotations"]] == flags
