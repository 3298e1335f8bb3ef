"""Plain lines on the terminal and in the file; only rank 0 speaks."""

import logging
import os
import subprocess
import sys

import pytest

from ppdet_lite.utils.logger import add_log_file, get_logger, progress_bar, remove_log_file
from tests.terminal import shown_on_terminal


def test_lines_go_to_the_file_until_it_is_removed(tmp_path, capsys):
    path = tmp_path / "run" / "train.log"
    handler = add_log_file(str(path))
    get_logger().info("step %d", 3)
    remove_log_file(handler)
    get_logger().info("later")
    assert path.read_text().count("\n") == 1 and "INFO: step 3" in path.read_text()
    assert capsys.readouterr().err.count("step 3") == 1


def test_a_second_run_appends(tmp_path):
    path = tmp_path / "train.log"
    for text in ("first", "second"):
        handler = add_log_file(str(path))
        get_logger().info(text)
        remove_log_file(handler)
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
def test_a_full_disk_is_said_once(capsys):
    handler = add_log_file("/dev/full")
    for line in ("first", "second"):
        get_logger().info(line)
    remove_log_file(handler)
    error = capsys.readouterr().err
    assert error.count("/dev/full: cannot be written (No space left on device)") == 1
    assert "first" in error and "second" in error and "Traceback" not in error


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
def test_a_terminal_that_cannot_be_written_ends_nothing(tmp_path, monkeypatch):
    handler = add_log_file(str(tmp_path / "a.log"))
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        get_logger().info("on we go")
        monkeypatch.undo()
        with pytest.raises(OSError):
            full.close()
    remove_log_file(handler)
    assert "on we go" in (tmp_path / "a.log").read_text()


def test_bytes_of_a_file_name_that_are_no_text_are_escaped(tmp_path):
    handler = add_log_file(str(tmp_path / "a.log"))
    handler.handle(logging.makeLogRecord({"msg": "a\udcff.jpg"}))
    remove_log_file(handler)
    assert "a\\udcff.jpg" in (tmp_path / "a.log").read_text()


def test_no_bar_where_there_is_no_terminal(capsys):
    with progress_bar(10, "x") as bar:
        bar.update(5)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("rank, expected", [("0", "info\nbad\n"), ("1", "bad\n")])
def test_other_ranks_only_report_errors(rank, expected, repo, tmp_path):
    code = (
        "import logging\n"
        "from ppdet_lite.utils import logger\n"
        "logger._FORMAT = '%(message)s'\n"
        "assert (logger.add_log_file('x.log') is None) == (logger.process_rank() == 1)\n"
        "log = logger.get_logger(); log.info('info'); log.error('bad')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(repo), "PADDLE_TRAINER_ID": rank},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, expected)


_BAR = """
from ppdet_lite.utils.logger import get_logger, progress_bar
bar = progress_bar(4, "Epoch 0", "step")
bar.update(2)
get_logger().info("a line")
bar.close()
"""


def test_a_terminal_gets_a_bar_with_lines_above_it(repo):
    output = shown_on_terminal(_BAR, repo)
    before, _, after = output.partition("INFO: a line\r\n")
    assert "Epoch 0:" in before and "Epoch 0:" in after and "2/4" in after
