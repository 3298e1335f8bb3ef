"""VOCDataSet: both layouts, class names, repairs and the texts of its complaints."""

import re

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.voc import VOCDataSet

PLAIN = (("dog", (10, 20, 30, 40), 0), ("cat", (1, 2, 50, 60), 1))


def xml(objects=PLAIN, width="100", height="80"):
    parts = [
        f"<object>\n<name>{name}</name>\n<difficult>{difficult}</difficult>\n<bndbox>\n"
        f"<xmin>{b[0]}</xmin>\n<ymin>{b[1]}</ymin>\n<xmax>{b[2]}</xmax>\n<ymax>{b[3]}</ymax>\n"
        "</bndbox>\n<part><name>head</name></part>\n</object>\n"
        for name, b, difficult in objects
    ]
    size = f"<size>\n<width>{width}</width>\n<height>{height}</height>\n</size>\n"
    return f"<annotation>\n{size}{''.join(parts)}</annotation>\n"


@pytest.fixture
def ids(tmp_path):
    """The plain layout: three annotated images, of which the list names two."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "Annotations" / "a.xml").write_text(xml())
    (tmp_path / "Annotations" / "b.xml").write_text(xml([]))
    (tmp_path / "Annotations" / "c.xml").write_text(xml([("Ape", (1, 1, 5, 5), 0)]))
    (tmp_path / "JPEGImages" / "a.PNG").write_bytes(b"")
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("a\n\nb\n")
    return tmp_path


@pytest.fixture
def pairs(tmp_path):
    (tmp_path / "img").mkdir()
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "a.xml").write_text(xml())
    (tmp_path / "train.txt").write_text("img/a.jpg xml/a.xml\n")
    (tmp_path / "label_list.txt").write_text("dog\ncat\nbird\n")
    return tmp_path


def refuse(text, folder, anno_path="train.txt", **options):
    """The data set is refused with these words."""
    with pytest.raises(DataError, match=re.escape(text)):
        VOCDataSet(str(folder), anno_path=anno_path, **options)


def test_bare_ids(ids):
    dataset = VOCDataSet(str(ids), anno_path="ImageSets/Main/train.txt")
    assert dataset.class_names == ["Ape", "cat", "dog"]  # of all annotations, sorted
    assert dataset.category_ids == [1, 2, 3]
    record = dataset.record(0)
    assert record["im_file"] == str(ids / "JPEGImages" / "a.PNG")
    assert record["gt_bbox"].tolist() == [[10, 20, 30, 40], [1, 2, 50, 60]]
    assert record["gt_class"].tolist() == [[2], [1]]
    assert record["difficult"].tolist() == [[0], [1]] and record["difficult"].dtype == np.int32
    assert (record["h"], record["w"], record["im_id"].tolist()) == (80, 100, [0])
    assert dataset.record(1)["gt_bbox"].shape == (0, 4)
    assert list(dataset.unreadable_files("none")) == [str(ids / "JPEGImages" / "b.jpg")]
    assert dataset.report_lines == [
        f"{ids}/ImageSets/Main/train.txt: 2 images, 2 boxes, 3 classes (Ape, cat, dog)",
        "images without objects: 1 kept as negatives (allow_empty: false leaves them out)",
        f"class names: collected from {ids}/Annotations, sorted",
    ]
    assert len(VOCDataSet(str(ids), anno_path="ImageSets/Main/train.txt", allow_empty=False)) == 1


def test_the_lists_of_one_data_set_agree_on_the_classes(ids):
    (ids / "ImageSets" / "Main" / "val.txt").write_text("c\n")
    train = VOCDataSet(str(ids), anno_path="ImageSets/Main/train.txt")
    val = VOCDataSet(str(ids), anno_path="ImageSets/Main/val.txt")
    assert train.class_names == val.class_names


def test_ids_below_a_nested_folder_and_another_image_folder(ids):
    (ids / "images").mkdir()
    (ids / "images" / "b.bmp").write_bytes(b"")
    nested = f"{ids.name}/ImageSets/Main/train.txt"
    dataset = VOCDataSet(str(ids.parent), image_dir="images", anno_path=nested)
    assert dataset.image_path(1) == str(ids / "images" / "b.bmp")


def test_pairs(pairs):
    dataset = VOCDataSet(str(pairs), anno_path="train.txt", label_list="label_list.txt")
    assert dataset.class_names == ["dog", "cat", "bird"]
    assert dataset.image_path(0) == str(pairs / "img" / "a.jpg")
    assert dataset.record(0)["gt_class"].tolist() == [[0], [1]]
    assert VOCDataSet(str(pairs), anno_path="train.txt").class_names == ["cat", "dog"]
    (pairs / "xml" / "with blank.xml").write_text(xml())
    (pairs / "train.txt").write_text("img/with blank.jpg\txml/with blank.xml\n")
    blank = VOCDataSet(str(pairs), anno_path="train.txt")
    assert blank.image_path(0) == str(pairs / "img" / "with blank.jpg")


def test_repairs(pairs):
    objects = [
        ("dog", (30, 40, 10, 20), 0),
        ("dog", (5, 5, 5, 9), 0),
        ("dog", (90, 70, 120, 90), 0),
        ("dog", (150, 1, 160, 9), 0),
    ]
    (pairs / "xml" / "a.xml").write_text(xml(objects))
    dataset = VOCDataSet(str(pairs), anno_path="train.txt", label_list="label_list.txt")
    assert dataset.record(0)["gt_bbox"].tolist() == [[10, 20, 30, 40], [90, 70, 100, 80]]
    counts = [f"1 {reason} (first: img/a.jpg)" for reason in ("of zero area", "outside the image")]
    counts += [f"1 {reason} (first: img/a.jpg)" for reason in ("inverted", "clipped to the image")]
    assert all(count in dataset.report_lines[1] for count in counts)


def test_ground_truth(ids):
    truth = VOCDataSet(str(ids), anno_path="ImageSets/Main/train.txt").to_coco()
    assert truth["images"][1] == {"id": 1, "file_name": "b.jpg", "width": 100, "height": 80}
    assert truth["categories"][2] == {"id": 3, "name": "dog"}
    assert truth["annotations"][1] == {
        "id": 2,
        "image_id": 0,
        "category_id": 2,
        "bbox": [1, 2, 49, 58],
        "area": 49 * 58,
        "iscrowd": 0,
        "difficult": 1,
        "ignore": 1,
    }


def test_a_name_that_the_label_list_does_not_have(pairs):
    (pairs / "xml" / "a.xml").write_text(xml([("dgo", (1, 1, 5, 5), 0)]))
    text = f"a.xml line 7: object[0].name: 'dgo' is not in {pairs}/label_list.txt; did you mean 'd"
    refuse(text, pairs, label_list="label_list.txt")


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ("<xmin>10</xmin>", "<xmin>ten</xmin>", "line 10: object[0].bndbox.xmin: found 'ten'"),
        ("<ymax>40</ymax>", "<ymax/>", "line 13: object[0].bndbox.ymax: found ''"),
        ("<xmin>1</xmin>\n", "", "line 20: object[1].bndbox.xmin: missing"),
        ("<name>dog</name>\n", "", "line 6: object[0].name: missing"),
        ("<name>dog</name>", "<name> </name>", "line 7: object[0].name: empty"),
        ("<difficult>1", "<difficult>yes", "line 19: object[1].difficult: found 'yes'"),
        ("<width>100</width>", "<width>0</width>", "line 3: size.width: found '0'"),
        ("<height>80</height>\n", "", "line 2: size.height: missing"),
        ("<size>\n", "<sise>\n", "line 5, column 3: not XML"),
    ],
)
def test_unusable_annotations(pairs, old, new, expected):
    path = pairs / "xml" / "a.xml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    refuse(f"{path} {expected}", pairs, label_list="label_list.txt")


def test_no_size(pairs):
    (pairs / "xml" / "a.xml").write_text("<annotation></annotation>")
    refuse("a.xml line 1: size: missing", pairs, label_list="label_list.txt")


@pytest.mark.parametrize(
    "text, problem",
    [
        ("\n", "train.txt: the list is empty"),
        ("img/a.jpg xml/a.xml\nimg/b.jpg xml/b.xml\n", "train.txt line 2: annotation"),
        ("img/a.jpg xml/a.xml\nimg/b.jpg\n", "train.txt line 2: found 1 fields"),
    ],
)
def test_unusable_lists(pairs, text, problem):
    (pairs / "train.txt").write_text(text)
    refuse(problem, pairs)


def test_missing_paths(ids):
    main = "ImageSets/Main"
    refuse(f"{ids}/{main}/test.txt does not exist (from dataset_dir", ids, f"{main}/test.txt")
    refuse(f"is {ids}/{main}, which holds train.txt", ids, f"{main}/test.txt")
    (ids / main / "train.txt").write_text("a\nq\n")
    refuse(f"train.txt line 2: annotation {ids}/Annotations/q.xml", ids, f"{main}/train.txt")
    (ids / "JPEGImages").rename(ids / "images")
    refuse(f"{ids}/JPEGImages does not exist (from dataset_dir + J", ids, f"{main}/train.txt")


def test_missing_label_list(pairs):
    refuse("names.txt does not exist (from dataset_dir + label_list", pairs, label_list="names.txt")


def test_no_object_anywhere(pairs):
    (pairs / "xml" / "a.xml").write_text(xml([]))
    refuse("xml: no object in any annotation file", pairs)


@pytest.mark.parametrize("split, images, boxes", [("train", 205, 2804), ("val", 87, 1137)])
def test_bccd(shared_dir, split, images, boxes):
    folder = shared_dir / "data" / "bccd"
    dataset = VOCDataSet(str(folder), anno_path=f"ImageSets/Main/{split}.txt")
    assert dataset.class_names == ["Platelets", "RBC", "WBC"]
    assert len(dataset) == images
    assert sum(len(dataset.record(i)["gt_bbox"]) for i in range(images)) == boxes
    # The whole set has two boxes of zero area, one in each split.
    assert any(line.startswith("boxes: dropped 1 of zero area") for line in dataset.report_lines)
    assert dataset.unreadable_files("none") == {}


def test_bccd_zero_area_boxes(shared_dir):
    folder = shared_dir / "data" / "bccd"
    dataset = VOCDataSet(str(folder), anno_path="ImageSets/Main/trainval.txt")
    assert dataset.report_lines[1] == (
        "boxes: dropped 2 of zero area (first: BloodImage_00338.jpg)"
    )


@pytest.mark.parametrize("text", ["inf", "nan", "1e30", "2147483648", "9" * 5000, "1e400"])
def test_a_size_that_no_image_has(pairs, text):
    path = pairs / "xml" / "a.xml"
    path.write_text(path.read_text().replace("<width>100<", f"<width>{text}<"))
    refuse("size.width: found", pairs, label_list="label_list.txt")


def test_all_bad_files_are_told_at_once(ids):
    files = sorted((ids / "Annotations").iterdir())
    for path in files:
        path.write_text("<annotation>")
    with pytest.raises(DataError, match=f"{len(files)} annotation files") as caught:
        VOCDataSet(str(ids), anno_path="ImageSets/Main/train.txt")
    assert all(f"{path.name} line 1" in str(caught.value) for path in files)


def test_one_file_in_several_lines_is_one_image(pairs):
    (pairs / "xml" / "b.xml").write_text(xml([("cat", (1, 1, 9, 9), 0), PLAIN[0]]))
    (pairs / "train.txt").write_text("img/a.jpg xml/a.xml\n" * 2 + "./img/a.jpg xml/b.xml\n")
    dataset = VOCDataSet(str(pairs), anno_path="train.txt", repeat=2)
    assert len(dataset) == 2
    assert dataset.record(0)["gt_bbox"].tolist() == [[10, 20, 30, 40], [1, 2, 50, 60], [1, 1, 9, 9]]
    assert "images: 2 entries repeat a file, and are merged" in dataset.report_lines
    assert (
        "dropped 3 repeated (same image, class and corners) (first: img/a.jpg)"
        in dataset.report_lines[1]
    )
    assert len(dataset.to_coco()["annotations"]) == 3


@pytest.mark.parametrize("name", ["IMG 0001", "part 1/0001"])
def test_ids_with_blanks_and_folders(ids, name):
    for folder, ending in (("Annotations", "xml"), ("JPEGImages", "PNG")):
        path = ids / folder / f"{name}.{ending}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(xml())
    path = ids / "ImageSets" / "Main" / "train.txt"
    path.write_text(f"a\n{name}\n{name}.png\n")
    dataset = VOCDataSet(str(ids), anno_path="ImageSets/Main/train.txt")
    assert dataset.image_path(1) == str(ids / "JPEGImages" / f"{name}.PNG")
    path.write_text(f"a\n{name}\nIMG 0003 x\n")
    refuse(f"train.txt line 3: annotation {ids}/Annotations/IMG 0003 x.xml", ids, str(path))
    path.write_text("IMG 0003\nIMG 0003 x\n")
    refuse("train.txt line 2: found 3 fields, allowed: 'image xml'", ids, str(path))


ENCODINGS = [
    "gb2312",
    "GBK",
    "shift_jis",
    "euc-kr",
    "iso-8859-1",
    "utf-8",
    "utf-16",
    "windows-1251",
]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encodings(pairs, encoding):
    name = {
        "shift_jis": "\u732b",
        "euc-kr": "\uace0",
        "iso-8859-1": "\xe9",
        "windows-1251": "\u044f",
    }
    name = name.get(encoding, "\u732b")
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n' + xml([(name, (1, 1, 9, 9), 0)])
    (pairs / "xml" / "a.xml").write_bytes(text.encode(encoding))
    assert VOCDataSet(str(pairs), anno_path="train.txt").class_names == [name]


@pytest.mark.parametrize(
    "head, problem",
    [
        ('<?xml version="1.0" encoding="foo-bar"?>', "line 1: encoding: found 'foo-bar'"),
        ('<?xml version="1.0" encoding="zlib"?>', "line 1: encoding: found 'zlib'"),
        (
            '<?xml version="1.0" encoding="ascii"?>\n\xe9',
            "line 2: encoding: this line is no text in",
        ),
        ('<!DOCTYPE a [<!ENTITY b "cc">]>', "line 1: found the entity b, allowed: plain text"),
    ],
)
def test_unusable_encodings_and_entities(pairs, head, problem):
    (pairs / "xml" / "a.xml").write_text(head + xml(), encoding="utf-8")
    refuse(f"a.xml {problem}", pairs)


@pytest.mark.parametrize("width", ["0", "inf", "1e30", "nan", "-5", "", "9" * 400, "12.5"])
def test_a_size_that_cannot_be_is_that_of_the_image(pairs, width):
    assert cv2.imwrite(str(pairs / "img" / "a.jpg"), np.zeros((80, 100, 3), np.uint8))
    (pairs / "xml" / "a.xml").write_text(xml(width=width))
    dataset = VOCDataSet(str(pairs), anno_path="train.txt")
    assert (dataset.record(0)["h"], dataset.record(0)["w"]) == (80, 100)
    assert "sizes: 1 are not usable, and are those of the image files" in dataset.report_lines
    (pairs / "img" / "a.jpg").unlink()
    refuse("a.xml line 3: size.width: found", pairs)


def test_all_unusable_files_are_named_at_once(pairs):
    for number in range(12):
        (pairs / "xml" / f"{number}.xml").write_text("<annotation>")
    lines = "".join(f"img/{number}.jpg xml/{number}.xml\n" for number in range(12))
    (pairs / "train.txt").write_text(lines + "img/a.jpg xml/a.xml\n")
    refuse(
        f"12 of 13 annotation files cannot be used, in {pairs}/xml/: 0.xml ",
        pairs,
        label_list="label_list.txt",
    )
    refuse("; 7.xml line 1, column 13: not XML: no element found; and 2 more", pairs)
    (pairs / "train.txt").write_text("img/a.jpg xml/y.xml\nimg/a.jpg xml/z.xml\n")
    refuse("2 of 2 lines cannot be used, in ", pairs)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"])
def test_names_that_no_file_has(ids, pairs, name):
    path = ids / "ImageSets" / "Main" / "train.txt"
    path.write_text(f"{name}\n")
    refuse("train.txt line 1: annotation", ids, str(path))
    (pairs / "train.txt").write_text(f"img/a.jpg {name}\n")
    refuse("train.txt line 1: annotation", pairs)


def test_boxes_as_shares_of_the_image(pairs):
    (pairs / "xml" / "a.xml").write_text(xml([("dog", (0.1, 0.2, 0.5, 1), 0)]))
    refuse("train.txt: all 1 boxes lie between 0 and 1, as shares of the image do", pairs)
