"""The check of a data set finds every kind of fault, once, and nothing else."""

import json
import shutil

import cv2
import pytest

from ppdet_lite.commands.data import check as command
from ppdet_lite.commands.data import stats as stats_command
from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.data.doctor.catalog import KINDS
from ppdet_lite.data.doctor.check import as_json, check, lines
from ppdet_lite.data.doctor.repair import repair
from ppdet_lite.data.doctor.sources import sources_of_folder
from ppdet_lite.data.doctor.survey import survey
from ppdet_lite.data.folder.recognize import recognize
from tests.data.doctor.faulty_sets import CocoWriter, faulty_coco, jpeg, photo
from tests.data.folder import layouts

EXPECTED = {
    "missing_image": {"missing.jpg"},
    "unreadable_image": {"damaged.jpg"},
    "wrong_size": {"wrong_size.jpg"},
    "turned_labels": {"turned.jpg"},
    "box_not_finite": {"not_finite.jpg"},
    "box_zero_area": {"zero_area.jpg"},
    "box_outside": {"outside.jpg"},
    "box_inverted": {"inverted.jpg"},
    "class_lists": {"instances_val.json"},
    "class_not_trained": {""},
    "class_spelling": {""},
    "leak": {"leak.jpg"},
    "near_leak": {"near.jpg"},
    "duplicate": {"same_again.jpg"},
    "repeated_entry": {"alone.jpg"},
    "exif_rotation": {"exif.jpg"},
    "no_end_marker": {"cut_end.jpg"},
    "box_clipped": {"clipped.jpg"},
    "box_tiny": {"tiny.jpg"},
    "box_huge": {"huge.jpg"},
    "box_repeated": {"repeated.jpg"},
    "box_two_classes": {"two_classes.jpg"},
    "box_doubled": {"doubled.jpg"},
    "class_missing": {""},
    "unlabeled": {"forgotten.jpg"},
    "empty_image": {"empty.jpg"},
}


def checked(folder):
    sources, _ = sources_of_folder(folder)
    return check(survey(str(folder), sources))


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    return faulty_coco(tmp_path_factory.mktemp("faulty"))


def names(found):
    return {finding.file.rpartition("/")[2] for finding in found}


def test_every_kind_is_found_and_nothing_else(faulty):
    done = checked(faulty)
    found = {kind: names(findings) for kind, findings in done.by_kind().items()}
    assert found == EXPECTED
    assert done.has_errors
    assert list(found) == [kind for kind in KINDS if kind in found]  # the worst first


def test_texts_hold_the_numbers(faulty):
    first = {kind: found[0] for kind, found in checked(faulty).by_kind().items()}
    assert first["wrong_size"].text == "labels 256 x 192, file 128 x 96"
    assert "22 pixels over the border" in first["box_clipped"].text
    assert first["box_tiny"].text.startswith("1 x 12 pixels")
    assert "'dog' (9 boxes)" in first["class_spelling"].text
    assert first["class_not_trained"].text == "'fish', 1 boxes elsewhere"
    assert "which has 1 boxes, not 2" in first["duplicate"].text
    assert first["near_leak"].other.endswith("near_val.jpg")


def test_lines_and_json(faulty):
    done = checked(faulty)
    assert any(line.startswith("train: 23 images") for line in lines(done))
    content = json.loads(json.dumps(as_json(done), allow_nan=False))
    assert content["counts"] == done.severities()
    box = content["findings"]["box_inverted"]["found"][0]
    assert box["boxes"] == [[40.0, 40.0, 20.0, 30.0]] and box["classes"] == ["cat"]


def test_a_repaired_copy(faulty, tmp_path):
    before = {p: p.read_bytes() for p in sorted(faulty.rglob("*")) if p.is_file()}
    copy = repair(checked(faulty), tmp_path / "fixed")
    assert before == {p: p.read_bytes() for p in sorted(faulty.rglob("*")) if p.is_file()}
    left = {"class_not_trained", "near_leak", "box_tiny", "box_huge", "empty_image"}
    left |= {"class_missing", "box_two_classes", "box_doubled"}  # only a human can tell
    assert set(checked(tmp_path / "fixed").by_kind()) == left
    content = json.loads(copy.files["train"].read_text())
    assert [c["name"] for c in content["categories"]] == ["cat", "dog", "bird", "fish"]
    images = {image["file_name"]: image for image in content["images"]}
    assert not {"missing.jpg", "damaged.jpg", "leak.jpg", "same.jpg"} & set(images)
    boxes = {
        name: [a["bbox"] for a in content["annotations"] if a["image_id"] == image["id"]]
        for name, image in images.items()
    }
    assert boxes["wrong_size.jpg"] == [[10, 10, 30, 30]]  # half as large as its labels
    assert boxes["inverted.jpg"] == [[20, 30, 20, 10]]
    assert boxes["clipped.jpg"] == [[100, 60, 28, 30]]
    assert boxes["turned.jpg"] == [[90, 10, 30, 30]]
    assert boxes["repeated.jpg"] == [[20, 20, 30, 30]]
    assert len(boxes["same_again.jpg"]) == 2
    for name, size_hw in (("turned.jpg", (96, 128)), ("exif.jpg", (128, 96))):
        image = cv2.imread(str(tmp_path / "fixed/images/train" / name))
        assert image.shape[:2] == size_hw
        assert (images[name]["height"], images[name]["width"]) == size_hw


def test_the_original_is_never_written(faulty, tmp_path):
    done = checked(faulty)
    for folder in (faulty / "images" / "fixed", faulty):
        with pytest.raises(ConfigError, match="fix"):
            repair(done, folder)
    fix = ["--fix", str(faulty / "fixed"), "--no-page", "--output_dir", str(tmp_path)]
    with pytest.raises(ConfigError, match="`fix`.* lies in the original"):
        command.main(command.build_parser().parse_args([str(faulty), *fix]))
    assert not (faulty / "fixed").exists()


def test_a_copy_without_images_is_refused(tmp_path):
    for split in ("train", "val"):
        writer = CocoWriter(tmp_path / "set", split)
        writer.add(f"{split}.jpg", b"no image")
        writer.write()
    with pytest.raises(DataError, match="no image: images that cannot be read 2"):
        repair(checked(tmp_path / "set"), tmp_path / "fixed")
    assert not (tmp_path / "fixed").exists()
    (tmp_path / "set/images/val.jpg").write_bytes(jpeg(photo(1)))
    copy = repair(checked(tmp_path / "set"), tmp_path / "fixed")
    assert copy.empty == ["train"] and [*copy.files] == ["val"]


def test_command(faulty, tmp_path, capsys):
    out = ["--output_dir", str(tmp_path / "out"), "--no-page"]
    parse = command.build_parser().parse_args
    assert command.main(parse([str(faulty), *out])) == 1
    counts = json.loads((tmp_path / "out/check.json").read_text())["counts"]
    assert counts["error"] == 12
    assert "images in two splits" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="config"):
        command.main(parse(out))


def test_the_data_sets_of_a_configuration(small_config, tmp_path):
    parse = command.build_parser().parse_args
    out = ["--output_dir", str(tmp_path), "--no-page"]
    assert command.main(parse(["-c", str(small_config), *out])) == 0
    splits = json.loads((tmp_path / "check.json").read_text())["splits"]
    assert [(s["split"], s["images"]) for s in splits] == [("val", 4)]


def test_a_configuration_that_divides_one_data_set(faulty, tmp_path):
    whole = {
        "name": "COCODataSet",
        "dataset_dir": str(faulty),
        "image_dir": "images",
        "anno_path": "annotations/instances_train.json",
    }
    parts = {"name": "SplitDataSet", "source": whole, "shares": {"train": 0.8, "val": 0.2}}
    sections = {"TrainDataset": {**parts, "part": "train"}, "EvalDataset": {**parts, "part": "val"}}
    (tmp_path / "own.yml").write_text(json.dumps(sections))
    for tool, code in ((command, 1), (stats_command, None)):
        options = ["-c", str(tmp_path / "own.yml"), "--output_dir", str(tmp_path), "--no-page"]
        assert tool.main(tool.build_parser().parse_args(options)) == code
    splits = json.loads((tmp_path / "check.json").read_text())["splits"]
    assert [(s["split"], s["images"]) for s in splits] == [("train", 23)]


def test_long_findings_keep_the_file_and_the_end(tmp_path):
    layouts.voc_labelimg(tmp_path / "set")
    paths = sorted((tmp_path / "set").rglob("*.xml"))
    path = paths[0].with_name(f"{'long_' * 20}name.xml")
    paths[0].rename(path)
    layouts.image(path.with_suffix(".jpg"))
    path.write_text(f"<annotation><object><name>{'x' * 200}")
    sources = sources_of_folder(tmp_path / "set")
    done = check(survey("set", *sources, folder=tmp_path / "set"))
    line = next(line for line in lines(done) if "labels that cannot be used" in line)
    assert "_name.xml" in line and line.endswith("no element found") and len(line) < 160


def test_a_text_in_another_encoding_is_the_reason(tmp_path):
    for make in (layouts.voc_labelimg, layouts.voc_image_sets):
        folder = tmp_path / make.__name__
        make(folder)
        for path in folder.rglob("*.xml"):
            path.write_bytes(path.read_text().replace("cat", "K\xe4tzchen").encode("latin-1"))
            path.write_bytes(path.read_bytes().replace(b"dog", b"B\xe4r"))
        found = checked(folder).by_kind()["unusable_split"]
        assert "encoding: this line is no text in utf-8;" in found[0].text
    (tmp_path / "csv").mkdir()
    layouts.image(tmp_path / "csv/a.jpg")
    (tmp_path / "csv/l.csv").write_bytes(b"path,x1,y1,x2,y2,class\na.jpg,1,1,9,9,B\xe4r\n")
    (found,) = checked(tmp_path / "csv").by_kind()["unusable_split"]
    assert found.file.endswith("l.csv") and "l.csv" not in found.text


def test_yolo_labels(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    for seed, name in enumerate(["good", "bad_class", "words", "unlabeled"]):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(jpeg(photo(seed)))
    texts = {"good": "0 0.5 0.5 0.3 0.3\n1 0.5 0.5 0.1 0.1", "bad_class": "7 0.5 0.5 0.3 0.3"}
    for name, text in {**texts, "words": "one two", "lonely": "0 0.5 0.5 0.3 0.3"}.items():
        (tmp_path / "labels" / f"{name}.txt").write_text(text + "\n")
    done = checked(tmp_path)
    found = {kind: names(findings) for kind, findings in done.by_kind().items()}
    assert found == {
        "unusable_label": {"bad_class.txt line 1", "words.txt line 1"},
        "unlabeled": {"unlabeled.jpg"},
        "orphan_label": {"lonely.txt"},
    }
    copy = repair(done, tmp_path.parent / f"{tmp_path.name}_fixed")
    images = json.loads(copy.files["train"].read_text())["images"]
    assert {image["file_name"] for image in images} == {"good.jpg", "unlabeled.jpg"}


def test_a_split_that_cannot_be_read_is_a_finding(tmp_path):
    root = faulty_coco(tmp_path / "set")
    path = root / "annotations/instances_val.json"
    path.write_text(path.read_text()[:-40])
    done = checked(root)
    (finding,) = done.by_kind()["unusable_split"]
    assert finding.split == "val" and "not JSON" in finding.text
    assert "box_inverted" in done.by_kind()  # of the other split


def test_entries_of_coco_files_that_cannot_be_used(faulty, tmp_path):
    """Training would stop at the first; here all are named, and the others are checked."""
    root = tmp_path / "set"
    shutil.copytree(faulty, root)
    path = root / "annotations/instances_train.json"
    content = json.loads(path.read_text())
    first = content["annotations"][0]
    bad = [{**first, "image_id": 77}, {**first, "category_id": 9}, {**first, "bbox": [1, 2, 3]}]
    bad += [{"id": 5}, "text", {**first, "segmentation": [["a"] * 6]}]
    content["annotations"] = [*bad, *content["annotations"]]
    content["images"] += [{**content["images"][0], "file_name": "same_id.jpg"}, {"id": 4000}]
    path.write_text(json.dumps(content))
    found = checked(root).by_kind()
    texts = sorted(finding.text for finding in found.pop("unusable_label"))
    keys = [text.partition(": ")[0] for text in texts]
    assert keys == [
        "annotations[0].image_id",
        "annotations[1].category_id",
        "annotations[2].bbox",
        "annotations[3].image_id",
        "annotations[4].id",
        "annotations[5].segmentation",
        "images[23].id",
        "images[24].width",
    ]
    assert {kind: names(findings) for kind, findings in found.items()} == EXPECTED


def test_boxes_given_as_shares(tmp_path):
    writer = CocoWriter(tmp_path / "set", "train")
    for seed in range(3):
        writer.add(f"{seed}.jpg", jpeg(photo(seed)), [(1, (0.25, 0.25, 0.5, 0.5))])
    writer.write(["cat"])
    done = checked(tmp_path / "set")
    assert set(done.by_kind()) == {"box_units"}
    copy = repair(done, tmp_path / "fixed")
    boxes = json.loads(copy.files["train"].read_text())["annotations"]
    assert [box["bbox"] for box in boxes] == [[32, 24, 64, 48]] * 3


def test_nothing_to_repair(tmp_path):
    root = faulty_coco(tmp_path / "set")
    for path in (root / "annotations").iterdir():
        path.write_text(path.read_text()[:-40])
    with pytest.raises(DataError, match="nothing to repair"):
        repair(checked(root), tmp_path / "fixed")


def test_leak_in_real_photos(shared_dir):
    """BCCD: two photos of one place, one in each split, and two boxes without area."""
    done = checked(shared_dir / "data" / "bccd")
    (leak,) = done.by_kind()["near_leak"]
    assert leak.file.endswith("BloodImage_00038.jpg") and leak.other.endswith("00037.jpg")
    assert len(done.by_kind()["box_zero_area"]) == 2
    assert done.severities() == {"error": 2, "warning": 7, "note": 0}


def test_a_wrong_number_of_classes_is_one_finding(tmp_path):
    layouts.yolo_ultralytics(tmp_path)
    path = tmp_path / "data.yaml"
    path.write_text(path.read_text().replace("names:", "nc: 5\nnames:"))
    done = checked(tmp_path)
    (found,) = done.by_kind()["unusable_label"]
    assert found.file == str(path) and found.text.startswith("nc: found 5, allowed: 2")
    assert [len(split) for split in done.survey.splits] == [3, 2]
    with pytest.raises(DataError, match="nc: found 5"):
        recognize(tmp_path).lines()
