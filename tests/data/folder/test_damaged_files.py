"""Annotation files that are cut short or no text are named, wherever the folder is read."""

import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.doctor.check import check, lines
from ppdet_lite.data.doctor.sources import sources_of_folder
from ppdet_lite.data.doctor.survey import survey
from ppdet_lite.data.folder.operations import convert
from ppdet_lite.data.folder.recognize import recognize
from tests.data.folder import layouts

DAMAGES = {
    "cut": lambda data: data[:90],
    "cut late": lambda data: data[:-9],
    "no text": lambda data: bytes(range(128, 256)) * 2,
    "empty": lambda data: b"",
}
FILES = [
    (layouts.coco_roboflow, "train/_annotations.coco.json"),
    (layouts.coco_roboflow, "valid/_annotations.coco.json"),
    (layouts.coco_own, "annotations/instances_train2017.json"),
    (layouts.labelme_folder, "b.json"),
    (layouts.labelme_splits, "train/labels/a.json"),
]


def checked(folder):
    return check(survey(str(folder), *sources_of_folder(folder)))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("make", "file"), FILES, ids=[f"{m.__name__}-{f}" for m, f in FILES])
def test_a_damaged_json_is_an_error(tmp_path, make, file, damage):
    make(tmp_path / "set")
    path = tmp_path / "set" / file
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    done = checked(tmp_path / "set")
    assert done.has_errors
    found = [*done.by_kind().get("unusable_split", []), *done.by_kind().get("unusable_label", [])]
    assert any(path.name in finding.file for finding in found), lines(done)
    with pytest.raises(DataError, match=path.name):
        convert(recognize(tmp_path / "set"), tmp_path / "out", "voc")
    assert not (tmp_path / "out").exists()


def test_the_only_file_is_damaged(tmp_path):
    layouts.coco_cvat(tmp_path)
    path = tmp_path / "annotations/instances_default.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:300])
    with pytest.raises(DataError, match="instances_default.json"):
        recognize(tmp_path).lines()
    path.unlink()
    (tmp_path / "labels.json").write_bytes(b"\x80\x81")
    with pytest.raises(DataError, match=r"no annotations found .*not JSON: labels.json"):
        recognize(tmp_path)


def test_other_damaged_files_do_not_count(tmp_path):
    layouts.coco_own(tmp_path)
    (tmp_path / "annotations/captions_train2017.json").write_text('{"images": [], "annotations": [')
    (tmp_path / "notes.json").write_text("{")
    assert recognize(tmp_path).place == "annotations/instances_*2017.json"


def test_labels_that_are_no_text(tmp_path):
    for make, file in ((layouts.yolo_labelimg, "a.txt"), (layouts.voc_labelimg, "a.xml")):
        folder = tmp_path / make.__name__
        make(folder)
        (path,) = folder.rglob(file)
        path.write_bytes(bytes(range(128, 256)))
        (found,) = checked(folder).by_kind()["unusable_label"]
        assert found.file.startswith(str(path))


@pytest.mark.parametrize("damage", ["cut", "no text"])
def test_a_split_of_damaged_files(tmp_path, damage):
    layouts.labelme_splits(tmp_path)
    for path in (tmp_path / "val").rglob("*.json"):
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    found = checked(tmp_path).by_kind()["unusable_label"]
    assert [each.split for each in found] == ["val", "val"]
    assert {each.file.rpartition("/")[2] for each in found} == {"d.json", "e.json"}
