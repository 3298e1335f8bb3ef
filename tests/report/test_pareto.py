"""The figure of accuracy over speed, and the command that draws it."""

import cv2
import pytest

from ppdet_lite.commands import report
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.report.results import PUBLISHED, Result, read_results

pytest.importorskip("matplotlib", reason="needs the package matplotlib")

from ppdet_lite.report.pareto import draw_pareto  # noqa: E402

OWN = [Result("mine", "640", 44.0, 310.0), Result("mine", "320", 40.0, 500.0)]


def lines(figure):
    """Label -> places of its markers."""
    (axes,) = figure.axes
    return {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}


def test_a_line_for_each_method_from_slow_to_fast():
    found = lines(draw_pareto(read_results(PUBLISHED), OWN[::-1], "fps"))
    assert found["mine (own)"] == [[310, 44], [500, 40]]
    assert found["PP-YOLOv2 R101"] == [[50.3, 50.3], [69.8, 49.0]]
    assert found["front of all"][-2:] == [[310, 44], [500, 40]]
    assert len(found) == 10


def test_rows_without_that_speed_are_left_out():
    found = lines(draw_pareto(read_results(PUBLISHED), OWN, "fps_tensorrt"))
    assert "mine (own)" not in found and "YOLOv5" not in found
    assert found["PP-YOLOv2 R50"][0] == [106.5, 49.5]


def run(*words):
    report.main(report.build_parser().parse_args(["--pareto", *map(str, words)]))


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a.pdf"])
def test_the_command_draws_and_says_what_is_on_the_front(tmp_path, capsys, name):
    table = tmp_path / "own.csv"
    table.write_text("method,size,ap,fps\nmine,640,49.6,310\n")
    run(table, "--output", tmp_path / name)
    said = capsys.readouterr().out
    assert "28 published and 1 own results" in said
    assert "on the front: mine 640 (own): AP 49.6, 310 per second" in said
    assert "PP-YOLOv2 R50" not in said
    assert (tmp_path / name).stat().st_size > 5000
    if name.endswith("png"):
        assert cv2.imread(str(tmp_path / name)).std() > 10


def test_own_results_alone_and_none_at_all(tmp_path, capsys):
    table = tmp_path / "own.csv"
    table.write_text("method,size,ap,fps\nmine,640,49.6,310\n")
    run(table, "--output", tmp_path / "a.png", "--without-published")
    assert "0 published and 1 own" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="`pareto`: no row with fps"):
        run("--without-published", "--output", tmp_path / "b.png")
    with pytest.raises(ConfigError, match="`output`: found .*a.gif, allowed: .png"):
        run("--output", tmp_path / "a.gif")
    assert not (tmp_path / "a.gif").exists() and not (tmp_path / "b.png").exists()
