"""Converted, split and merged sets hold the same objects."""

import os

import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.folder.operations import WRITERS, convert, merge, split
from ppdet_lite.data.folder.recognize import recognize
from ppdet_lite.data.folder.writing.coco_writer import CocoWriter
from tests.data.folder import layouts
from tests.data.folder.test_recognize import CASES, expected, objects_of


@pytest.mark.parametrize("to", WRITERS)
@pytest.mark.parametrize(("name", "make"), CASES[::3], ids=[m.__name__ for _, m in CASES[::3]])
def test_every_format_becomes_every_other(tmp_path, name, make, to):
    make(tmp_path / "from")
    written = convert(recognize(tmp_path / "from"), tmp_path / "to", to)
    reading = recognize(tmp_path / "to")
    assert reading.format == to and reading.class_names == layouts.NAMES
    splits = {split: objects_of(dataset) for split, dataset in reading.datasets().items()}
    if make.__name__ in layouts.WITHOUT_SPLITS:
        assert splits == {"train": expected("train", "val")}
    else:
        assert splits == {"train": expected("train"), "val": expected("val")}
    assert "5 images copied" in written.lines


def test_crowds_difficult_and_polygons(tmp_path):
    layouts.coco_cvat(tmp_path / "from")
    path = tmp_path / "from/annotations/instances_default.json"
    text = path.read_text().replace('"iscrowd": 0', '"iscrowd": 1', 1)
    polygon = '"segmentation": [[4, 4, 20, 4, 20, 20, 4, 20]], "iscrowd": 0'
    path.write_text(text.replace('"iscrowd": 0', polygon, 1))
    lines = convert(recognize(tmp_path / "from"), tmp_path / "coco", "coco").lines
    assert "train: the polygons of 1 objects are not written" in lines
    again = recognize(tmp_path / "coco").dataset("train").to_coco()["annotations"]
    assert [each["iscrowd"] for each in again] == [1, 0, 0, 0, 0, 0]
    lines = convert(recognize(tmp_path / "from"), tmp_path / "yolo", "yolo").lines
    assert any(line.startswith("1 crowds are left out") for line in lines)
    layouts.voc_labelimg(tmp_path / "voc")
    xml = tmp_path / "voc/a.xml"
    xml.write_text(xml.read_text().replace("<bndbox>", "<difficult>1</difficult><bndbox>"))
    convert(recognize(tmp_path / "voc"), tmp_path / "voc2", "voc")
    dataset = recognize(tmp_path / "voc2").dataset("train")
    assert dataset.record(0)["difficult"].tolist() == [[1]]


def test_links_and_an_occupied_folder(tmp_path):
    layouts.voc_labelimg(tmp_path / "from")
    reading = recognize(tmp_path / "from")
    assert "5 images linked to the originals" in convert(reading, tmp_path / "l", "voc", True).lines
    link = tmp_path / "l/JPEGImages/a.jpg"
    assert link.is_symlink() and link.resolve() == (tmp_path / "from/a.jpg").resolve()
    with pytest.raises(DataError, match="l is there already, allowed: a new or an empty folder"):
        convert(reading, tmp_path / "l", "voc")
    with pytest.raises(DataError, match="`format`: found csv, allowed: coco, voc, yolo"):
        convert(reading, tmp_path / "m", "csv")


def test_split(tmp_path):
    layouts.csv_plain(tmp_path / "from")
    reading = recognize(tmp_path / "from")
    written = split(reading, tmp_path / "to", {"val": 0.2, "test": 0.2}, seed=1)
    found = recognize(tmp_path / "to")
    sizes = {part: len(dataset) for part, dataset in found.datasets().items()}
    assert found.format == "coco" and sizes == {"train": 3, "val": 1, "test": 1}
    objects = {}
    for dataset in found.datasets().values():
        objects.update(objects_of(dataset))
    assert objects == expected("train", "val") and "seed 1" in written.lines[-1]
    with pytest.raises(DataError, match="shares: found val 0.7, test 0.3, allowed: 0 or more, bel"):
        split(reading, tmp_path / "no", {"val": 0.7, "test": 0.3})


def test_merge(tmp_path, monkeypatch):
    layouts.yolo_ultralytics(tmp_path / "a")
    monkeypatch.setattr(layouts, "NAMES", ["dog", "Cat"])
    layouts.coco_roboflow(tmp_path / "b")
    readings = [recognize(tmp_path / "a"), recognize(tmp_path / "b")]
    written = merge(readings, tmp_path / "to", to="voc")
    joined = recognize(tmp_path / "to")
    assert joined.class_names == ["cat", "dog", "Cat"]
    assert {part: len(d) for part, d in joined.datasets().items()} == {"train": 6, "val": 4}
    assert any("'cat', 'Cat' differ by case" in line for line in written.lines)
    counts = {"a": 0, "b": 0}
    dataset = joined.dataset("train")
    for index in range(len(dataset)):
        record = dataset.record(index)
        if "_jpg" not in record["im_file"]:
            counts["a"] += (record["gt_class"] == 1).sum()  # dog of YOLO
        else:
            counts["b"] += (record["gt_class"] == 2).sum()  # Cat of COCO
    assert counts == {"a": 2, "b": 2}


def test_equal_names_of_files_stay_apart(tmp_path):
    layouts.yolo_labelimg(tmp_path / "a")
    layouts.yolo_labelimg(tmp_path / "b")
    readings = [recognize(tmp_path / "a"), recognize(tmp_path / "b")]
    merge(readings, tmp_path / "to", to="yolo")
    dataset = recognize(tmp_path / "to").dataset("train")
    names = {dataset.image_path(index).rpartition("/")[2] for index in range(len(dataset))}
    assert len(dataset) == len(names) == 10 and "b_a.jpg" in names


@pytest.mark.parametrize("command", ["convert", "split", "merge"])
def test_commands(tmp_path, capsys, command):
    import importlib

    layouts.labelme_folder(tmp_path / "from")
    module = importlib.import_module(f"ppdet_lite.commands.data.{command}")
    places = {
        "convert": ["from", "to", "--format", "yolo"],
        "split": ["from", "to", "--val", "0.2", "--format", "yolo", "--link"],
        "merge": ["from", "from", "--output", "to", "--format", "yolo"],
    }[command]
    words = [str(tmp_path / word) if word in ("from", "to") else word for word in places]
    module.main(module.build_parser().parse_args(words))
    assert "YOLO txt (data.yaml" in capsys.readouterr().out
    assert (tmp_path / "to" / "data.yaml").is_file()


def test_the_output_may_not_lie_in_the_source(tmp_path):
    layouts.voc_labelimg(tmp_path / "set")
    layouts.coco_cvat(tmp_path / "other")
    before = sorted((tmp_path / "set").rglob("*"))
    readings = [recognize(tmp_path / name) for name in ("other", "set")]
    os.symlink(tmp_path / "set", tmp_path / "link")
    for folder in ("set", "set/new", "link/new"):
        for write in (
            lambda out: convert(readings[1], out, "yolo"),
            lambda out: split(readings[1], out, {"val": 0.5}),
            lambda out: merge(readings, out),
        ):
            with pytest.raises(DataError, match="lies in .*set, allowed: a folder elsewhere"):
                write(tmp_path / folder)
    assert sorted((tmp_path / "set").rglob("*")) == before


def test_too_few_images_leave_nothing_behind(tmp_path):
    layouts.image(tmp_path / "one/a.jpg")
    layouts.write(tmp_path / "one/a.xml", layouts.voc([(0, (4, 4, 20, 20))]))
    with pytest.raises(DataError, match="one: 1 image cannot be divided into train, val"):
        split(recognize(tmp_path / "one"), tmp_path / "out", {"val": 0.2})
    layouts.coco_cvat(tmp_path / "set")
    for path in (tmp_path / "set/images").iterdir():
        path.unlink()
    layouts.image(tmp_path / "set/images/other.jpg")
    with pytest.raises(DataError, match="set: train: not one image of 5"):
        convert(recognize(tmp_path / "set"), tmp_path / "out", "voc")
    assert not (tmp_path / "out").exists()


class _FullDisk(CocoWriter):
    def write_split(self, split):
        raise OSError(28, "no space left", "labels.json")


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    layouts.coco_cvat(tmp_path / "set")
    monkeypatch.setitem(WRITERS, "full", _FullDisk)
    with pytest.raises(DataError, match="no space left"):
        convert(recognize(tmp_path / "set"), tmp_path / "new", "full")
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="no space left"):
        convert(recognize(tmp_path / "set"), tmp_path / "out", "full")
    assert not (tmp_path / "new").exists() and not [*(tmp_path / "out").iterdir()]
