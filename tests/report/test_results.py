"""Tables of results: what is read, refused by name, and on the front."""

import json

import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.report.results import PUBLISHED, Result, pareto_front, read_results


def write(tmp_path, text, name="results.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_columns_in_any_order_with_gaps_and_others(tmp_path):
    text = "ap,method,note,size,fps\n44.1,mine,x,640,310\n40, mine ,,320,500.5\n"
    assert read_results(write(tmp_path, text)) == [
        Result("mine", "640", 44.1, 310.0),
        Result("mine", "320", 40.0, 500.5),
    ]


def test_json_is_a_list_of_objects(tmp_path):
    rows = [{"method": "a", "size": 640, "ap": 44, "fps_tensorrt": 12.5}]
    found = read_results(write(tmp_path, json.dumps(rows), "results.json"))
    assert found == [Result("a", "640", 44.0, None, 12.5)]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("method,ap,fps\n,40,30\n", "row 1: method: found nothing"),
        ("method,ap,fps\na,40,30\na,x,30\n", "row 2: ap: found 'x', allowed: above 0"),
        ("method,ap,fps\na,101,30\n", "row 1: ap: found '101'"),
        ("method,ap,fps\na,40,-1\n", "row 1: fps: found '-1'"),
        ("method,ap,fps\na,40,inf\n", "row 1: fps: found 'inf'"),
        ("method,ap,fps\na,40,\n", "row 1: fps: found nothing"),
        ("method,ap\na,\n", "row 1: ap: found nothing"),
        ("method,ap,fps\n", "found no row"),
        ("", "found no row"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path, text, match):
    with pytest.raises(DataError, match=f"results.csv: .*{match}"):
        read_results(write(tmp_path, text))


@pytest.mark.parametrize("text", ["{", '{"a": 1}', "[1]"])
def test_json_of_another_form(tmp_path, text):
    with pytest.raises(DataError, match="results.json: "):
        read_results(write(tmp_path, text, "results.json"))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: cannot be read"):
        read_results(tmp_path / "none.csv")


def test_the_published_table_has_the_papers_numbers():
    rows = read_results(PUBLISHED)
    assert len(rows) == 28
    for row in (
        Result("PP-YOLOv2 R50", "640", 49.5, 68.9, 106.5),
        Result("PP-YOLOv2 R101", "640", 50.3, 50.3, 87.0),
        Result("PP-YOLO R50", "608", 45.9, 72.9, 155.6),
        Result("YOLOv4-CSP", "640", 47.5, 73.0),
        Result("YOLOv5", "l 640", 48.2, 69.8),
    ):
        assert row in rows


def test_front_by_hand():
    a, b, c = Result("a", "", 40, 100), Result("b", "", 45, 50), Result("c", "", 39, 90)
    twin, slow = Result("d", "", 45, 50), Result("e", "", 45, 49)
    unknown = Result("f", "", 60, None, 10)
    assert pareto_front([a, b, c, twin, slow, unknown], "fps") == [twin, b, a]
    assert pareto_front([a, b, unknown], "fps_tensorrt") == [unknown]
    assert pareto_front([], "fps") == []


def test_front_of_the_paper():
    front = pareto_front(read_results(PUBLISHED), "fps")
    assert [f"{row.method} {row.size}" for row in front] == [
        "YOLOv5 x 640",
        "PP-YOLOv2 R101 640",
        *(f"PP-YOLOv2 R50 {size}" for size in (640, 608, 512, 416, 320)),
        "PP-YOLO R50 320",
    ]
