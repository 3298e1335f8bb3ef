"""The page of detections, from a results file and labels."""

import json
import re

import pytest

from ppdet_lite.commands import report
from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.report.evaluation.drawn_errors import error_image_sections
from ppdet_lite.report.evaluation.evaluation import read_evaluation

pytest.importorskip("matplotlib", reason="needs the package matplotlib")
pytest.importorskip("jinja2", reason="needs the package jinja2")


@pytest.fixture(scope="module")
def perfect(tiny_coco, tmp_path_factory):
    """A results file with every label of the validation images of `tiny_coco`."""
    truth = json.loads((tiny_coco / "annotations/val.json").read_text())
    keys = ("image_id", "category_id", "bbox")
    path = tmp_path_factory.mktemp("perfect") / "bbox.json"
    found = [{**{key: item[key] for key in keys}, "score": 0.75} for item in truth["annotations"]]
    path.write_text(json.dumps(found))
    return path


def run(*words):
    report.main(report.build_parser().parse_args(list(map(str, words))))


def test_a_page_from_files_alone(perfect, tiny_coco, tmp_path, capsys):
    labels = ("--anno_path", tiny_coco / "annotations/val.json", "--image_dir", tiny_coco)
    run(perfect, *labels, "--output", tmp_path)
    assert str(tmp_path / "index.html") in capsys.readouterr().out
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # it needs no network
    for text in ("100.0", "square", "circle", "There is no error that costs AP50."):
        assert text in page, text
    for name in ("error_types", "precision_recall", "f1_over_threshold", "confusion_matrix"):
        assert (tmp_path / "report" / f"{name}.png").read_bytes()[1:4] == b"PNG"


def test_names_of_classes_are_text_not_html(tmp_path, recwarn):
    """Nor formulas, nor too long, whatever their letters."""
    name = "<script>alert(1)</script>"
    names = [name, "$a_b$", "$", "猫", "{{ x }}", "%s", 20 * "long "]
    item = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9]}
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": number, "name": each} for number, each in enumerate(names)],
        "annotations": [{**item, "category_id": number} for number in range(len(names))],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "bbox.json").write_text(json.dumps([{**item, "score": 0.5}]))
    run(tmp_path / "bbox.json")
    page = (tmp_path / "bbox_report" / "index.html").read_text(encoding="utf-8")
    assert name not in page and "猫" in page and "{{ x }}" in page
    assert not recwarn.list


def test_files_that_do_not_belong_together_are_refused(perfect, tmp_path):
    with pytest.raises(DataError, match=r"truth.json: cannot be read"):
        run(perfect)
    truth = {"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    path = tmp_path / "truth.json"
    for key, value, found in (
        ("images", [{"id": 77}], "image_id 1 is not in"),
        ("images", None, "allowed: an object with images"),
        ("categories", [], "categories: found none"),
        ("annotations", [{"image_id": 5, "category_id": 1, "bbox": [0, 0, 1, 1]}], "image_id 5"),
    ):
        path.write_text(json.dumps({**truth, key: value}))
        with pytest.raises(DataError, match=found):
            read_evaluation(perfect, path)


def test_one_thing_at_a_time(tmp_path):
    for words in ([], [tmp_path, "--pareto"]):
        with pytest.raises(ConfigError, match="give either"):
            run(*words)
    with pytest.raises(DataError, match="found no results.csv"):
        run(tmp_path)


def test_a_detector_that_finds_nothing_suspects_no_label(tmp_path):
    item = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9]}
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [item],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    found = [{**item, "bbox": [50 * i, 90, 9, 9], "score": 0.9} for i in range(3)]
    (tmp_path / "bbox.json").write_text(json.dumps(found))
    evaluation = read_evaluation(tmp_path / "bbox.json", tmp_path / "truth.json")
    *_, suspects = error_image_sections(evaluation)
    assert suspects.text == "No confident detection disagrees with the labels."
    assert suspects.attachments[0].content.count(b"\n") == 1  # the names of the columns
