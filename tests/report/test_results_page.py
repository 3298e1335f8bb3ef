"""The page of detections, from a results file and labels."""

import html
import json
import re
import shlex

import cv2
import numpy as np
import pytest

from ppdet_lite.commands import report
from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.report.evaluation.drawn_errors import error_image_sections
from ppdet_lite.report.evaluation.evaluation import read_evaluation
from ppdet_lite.report.evaluation.evaluation_charts import confusion_chart
from ppdet_lite.report.evaluation.evaluation_sections import evaluation_sections

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
    with pytest.raises(DataError, match=r"truth.json: found no such file.*`anno_path`"):
        run(perfect)
    with pytest.raises(DataError, match=r"nofile.json: found no such file"):
        run(tmp_path / "nofile.json")
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


def written(folder, labels, found, names=("cat",), images=("a.jpg",)):
    """The results file of such entries, with its truth.json beside it."""
    truth = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(images, 1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, 1)],
        "annotations": labels,
    }
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "bbox.json").write_text(json.dumps(found))
    return folder / "bbox.json"


ITEM = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 40, 40]}
ELSEWHERE = {"image_id": 1, "category_id": 1, "bbox": [50, 50, 40, 40]}


def section(path, anchor):
    evaluation = read_evaluation(path, path.with_name("truth.json"))
    return next(each for each in evaluation_sections(evaluation) if each.anchor == anchor)


def test_images_of_truth_json_in_another_folder(tmp_path):
    path = written(tmp_path, [ITEM], [{**ITEM, "score": 0.9}], images=("deep/a.jpg",))
    (tmp_path / "photos").mkdir()
    for folder, found in (("nowhere", "a folder"), ("photos", "has no image of .*deep/a.jpg")):
        with pytest.raises(DataError, match=f"`image_dir`: found .*{folder}.*{found}"):
            run(path, "--image_dir", tmp_path / folder)
    for name in ("photos/a.jpg", "photos/deep/a.jpg"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(file), np.zeros((100, 100, 3), np.uint8))
        truth = path.with_name("truth.json")
        assert read_evaluation(path, truth, tmp_path / "photos").paths == [file.resolve()]
    run(path, "--image_dir", tmp_path / "photos")
    assert (tmp_path / "bbox_report" / "report" / "prediction_1.jpg").is_file()


def test_options_that_would_change_nothing_are_refused(tmp_path):
    for option in ("anno_path", "image_dir", "output"):
        with pytest.raises(ConfigError, match=f"`{option}`: found x"):
            run(tmp_path, f"--{option}", "x")


def test_the_command_on_the_page_works_in_any_folder(tmp_path, monkeypatch):
    (tmp_path / "my results").mkdir()
    path = written(tmp_path / "my results", [ITEM], [{**ITEM, "score": 0.9}])
    monkeypatch.chdir(tmp_path)
    run("my results/bbox.json", "--output", "page")
    text = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    command = html.unescape(re.search("Made again by <code>(.*)</code>", text).group(1))
    expected = ["ppdet", "report", str(path), "--output", str(tmp_path / "page")]
    assert shlex.split(command) == expected


@pytest.mark.parametrize(
    "labels, found, text",
    [
        ([ITEM], [], "Nothing is detected: none of the 1 labels"),
        ([], [{**ITEM, "score": 0.9}], "no labels to find.* wrong: 1"),
        ([ITEM], [{**ITEM, "score": 0.9}], "There is no error"),
        ([ITEM], [{**ITEM, "score": 0.9}, {**ELSEWHERE, "score": 0.1}], "No kind of error alone"),
    ],
)
def test_no_cost_has_a_reason(tmp_path, labels, found, text):
    assert re.search(text, section(written(tmp_path, labels, found), "errors").text)


def test_without_labels_there_are_no_curves(tmp_path):
    curves = section(written(tmp_path, [], [{**ITEM, "score": 0.9}]), "curves")
    assert not curves.charts and "no labels to find" in curves.text


def test_numbers_are_in_percent(tmp_path):
    found = [{**ELSEWHERE, "score": 0.9}, {**ITEM, "score": 0.8}]
    path = written(tmp_path, [ITEM], found)
    (row,) = section(path, "classes").tables[0].rows
    texts = ["cat", "1", "50.0", "50.0", "50.0", "100.0", "66.7", "0.800", "50.0", "100.0"]
    assert [cell.text for cell in row] == texts
    assert row[2].share == 0.5
    nothing, *_ = section(path, "confusion").tables[0].rows
    assert [cell.text for cell in nothing] == ["nothing there", "cat", "1", "100.0"]


def test_suspects_are_a_table_where_there_are_no_images(tmp_path):
    found = [{**ITEM, "score": 0.9}, {**ELSEWHERE, "score": 0.95}]
    found.append({**ITEM, "bbox": [2, 0, 40, 40], "score": 0.8, "image_id": 2})
    path = written(tmp_path, [ITEM, {**ITEM, "image_id": 2}], found, images=("a.jpg", "b.jpg"))
    *_, suspects = error_image_sections(read_evaluation(path, path.with_name("truth.json")))
    (row,) = suspects.tables[0].rows
    texts = ["a.jpg", "not labeled", "cat", "0.95", "50, 50, 40, 40", "–", "–"]
    assert [cell.text for cell in row] == texts


def test_a_label_that_a_worse_box_lies_on_is_not_said_to_be_not_found_at_all(tmp_path):
    found = [{**ITEM, "bbox": [0, 0, 40, 15], "score": 0.9}]
    path = written(tmp_path, [ITEM], found)
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((100, 100, 3), np.uint8))
    evaluation = read_evaluation(path, path.with_name("truth.json"), tmp_path)
    worst, _ = error_image_sections(evaluation)
    (miss,) = worst.groups[1].tiles
    assert miss.text == "no box of its class with IoU 0.5, a.jpg"


def test_a_large_confusion_matrix_names_a_part_of_its_classes(tmp_path):
    for count, text in ((3, ""), (95, "One of 2 classes is named.")):
        names = [str(number) for number in range(count)]
        path = written(tmp_path, [ITEM], [{**ITEM, "score": 0.9}], names=names)
        chart = confusion_chart(read_evaluation(path, path.with_name("truth.json")))
        assert chart.caption.endswith(text) and ("named" in chart.caption) == bool(text)


def test_long_names_are_cut_with_a_tooltip(tmp_path):
    name = 60 * "long "
    run(written(tmp_path, [ITEM], [{**ITEM, "score": 0.9}], names=(name,)))
    text = (tmp_path / "bbox_report" / "index.html").read_text(encoding="utf-8")
    assert f'class="text name" title="{name}"' in text


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
