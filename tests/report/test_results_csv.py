"""The table of a training run: whole rows, no row twice, columns that come later."""

import math
import os

import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.report.results_csv import ResultsCsv, read_results_csv


def row(iteration, **values):
    return {"epoch": iteration // 4, "iteration": iteration, **values}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.csv"


def test_rows_as_they_come(path):
    table = ResultsCsv(path)
    table.write(row(2, loss=0.5, lr=1e-7))
    table.write(row(4, loss=math.nan, lr=2))
    assert path.read_text() == "epoch,iteration,loss,lr\n0,2,0.5,1e-07\n1,4,,2\n"
    columns = read_results_csv(path)
    assert columns["loss"][0] == 0.5 and math.isnan(columns["loss"][1])


def test_values_of_the_same_iteration_go_into_its_row(path):
    table = ResultsCsv(path)
    table.write(row(2, loss=0.5))
    table.write(row(4, loss=0.25))
    table.write(row(4, **{"bbox/AP": 0.125}))
    table.write(row(4, **{"bbox/AP": 0.0625}))  # evaluated again
    table.write(row(6, loss=0.125))
    lines = "epoch,iteration,loss,bbox/AP\n0,2,0.5,\n1,4,0.25,0.0625\n1,6,0.125,\n"
    assert path.read_text() == lines


@pytest.mark.parametrize("end", ["", "1,5", "1,6,0.125", "1,6,"])
def test_a_resumed_run_repeats_no_row(path, end):
    """The end of a killed process's last line is missing, and it was beyond the checkpoint."""
    table = ResultsCsv(path)
    for iteration in (2, 4, 5):
        table.write(row(iteration, loss=0.5))
    with open(path, "a") as stream:
        stream.write(end)
    table = ResultsCsv(path, iteration=4)
    table.write(row(5, loss=0.25))
    assert path.read_text() == "epoch,iteration,loss\n0,2,0.5\n1,4,0.5\n1,5,0.25\n"


def test_a_new_run_in_the_folder_begins_anew(path):
    ResultsCsv(path).write(row(2, loss=0.5))
    ResultsCsv(path)
    assert path.read_text() == "epoch,iteration\n"


@pytest.mark.parametrize(
    "text, found",
    [
        ("name,x\n", "columns name,x"),
        ("\n", "columns nothing"),
        ("epoch,iteration,loss\n0,1,high\n", "row 1: found 0,1,high"),
        ("epoch,iteration,loss\n0,1,2\n0,2\n", "row 2: found 0,2"),
        ("epoch,iteration,loss\n0,,2\n", "row 1: found 0,,2"),
        ("epoch,iteration,loss\n0,1,inf\n", "row 1: found 0,1,inf"),
    ],
)
def test_another_file_is_refused(path, text, found):
    path.write_text(text)
    with pytest.raises(DataError, match=found):
        read_results_csv(path)


def test_a_bom_and_an_empty_file_are_read(path):
    path.write_bytes("\ufeffepoch,iteration,loss\n0,2,0.5\n".encode())
    assert read_results_csv(path)["loss"].tolist() == [0.5]
    ResultsCsv(path, iteration=2).write(row(4, loss=0.25))
    assert path.read_bytes() == b"epoch,iteration,loss\n0,2,0.5\n1,4,0.25\n"
    path.write_bytes(b"")
    assert len(read_results_csv(path)["iteration"]) == 0
    ResultsCsv(path, iteration=2).write(row(4, loss=0.25))
    assert path.read_bytes() == b"epoch,iteration,loss\n1,4,0.25\n"


@pytest.mark.parametrize("content", [b"name,x\n1,2\n", b"epoch,iteration\n0,\xff\n"])
def test_a_file_that_cannot_be_read_is_moved_aside(path, content, caplog):
    for name in ("results.csv.unreadable", "results.csv.unreadable_2"):
        path.write_bytes(content)
        ResultsCsv(path, iteration=2).write(row(4, loss=0.25))
        assert path.read_text() == "epoch,iteration,loss\n1,4,0.25\n"
        assert path.with_name(name).read_bytes() == content and name in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_write_that_is_cut_short_leaves_the_row_before(path):
    """A second evaluation of one iteration, cut by a limit on the size of files."""
    resource = pytest.importorskip("resource")
    table = ResultsCsv(path)
    table.write(row(2, loss=0.5))
    table.write(row(2, **{"bbox/AP": 0.123456}))
    before = path.read_bytes()
    if (child := os.fork()) == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) - 6, len(before) - 6))
            table.write(row(2, **{"bbox/AP": 0.9}))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert path.read_bytes() == before
