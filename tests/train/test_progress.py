"""The short lines of a training and its bar."""

import datetime
import re

import pytest

from ppdet_lite.train.hooks.progress_log import LogHook
from ppdet_lite.train.hooks.progress_text import Progress, three_digits
from tests.terminal import shown_on_terminal

LOSSES = {"loss_xy": 1.5034, "loss_obj": 1203.7, "loss_cls": 0.0698, "loss": 217.953}


@pytest.mark.parametrize(
    "value, text",
    [
        (0, "0.00"),
        (12345.6, "12346"),
        (999.6, "1000"),
        (217.95, "218"),
        (5.5313, "5.53"),
        (0.0698, "0.0698"),
        (0.00208333, "0.00208"),
        (1.5e-7, "1.50e-07"),
        (-3.14159, "-3.14"),
    ],
)
def test_three_digits(value, text):
    assert three_digits(value) == text


def progress(losses=LOSSES):
    eta = datetime.timedelta(hours=1, minutes=2, seconds=3)
    return Progress(2, 120, 211, 0.0025, losses, 0.27, 0.01, 4, eta)


def test_the_short_text_takes_as_many_terms_as_fit():
    rest = "lr 0.00250  14.8 img/s  eta 1:02:03"
    assert progress().text(90) == f"loss 218 (xy 1.50, obj 1204, cls 0.0698)  {rest}"
    assert progress().text(65) == f"loss 218 (xy 1.50, obj 1204)  {rest}"  # the largest
    assert progress().text(45) == f"loss 218  {rest}"
    assert progress().text(30) == "loss 218  eta 1:02:03"
    assert progress().text(8) == "loss 218" and progress().text(7) == ""  # no number is cut
    start = "Epoch: [2] [120/211] learning_rate: 0.00250 loss: 218"
    assert progress().short_line(78) == f"{start} ips: 14.8 eta: 1:02:03"
    assert progress().short_line(99) == f"{start} (xy 1.50, obj 1204) ips: 14.8 eta: 1:02:03"
    for columns in range(22, 120):
        assert len(progress({f"loss_{n}": 10.0**n for n in range(-4, 9)}).text(columns)) <= columns


def test_lines_without_a_terminal_are_short_and_the_file_has_all(toys, capsys, caplog):
    toys.trainer([LogHook(4, 0, False)], epochs=2, reader=toys.reader(10)).run()
    lines = [line for line in capsys.readouterr().err.splitlines() if "Epoch: [" in line]
    assert len(lines) == 7 and all(len(line) <= 100 for line in lines)
    assert "] Epoch: [1] [10/10] learning_rate: 0.100 loss: " in lines[-1]
    assert " (a " in lines[-1] and " eta: 0:00:00" in lines[-1]
    full = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Epoch: [")]
    assert len(full) == 7 and "loss_a: " in full[0] and "max_mem" in full[0]


_RUN = """
from ppdet_lite.train.hooks.progress_log import LogHook
from ppdet_lite.utils.logger import get_logger
from tests import toys
toys.make_trainer([LogHook(2, 0, False)], epochs=2).run()
get_logger().info("the end")
"""


@pytest.mark.parametrize("columns", [0, 40])
def test_a_terminal_shows_a_bar_that_stays_as_one_line_per_epoch(repo, columns):
    output = shown_on_terminal(_RUN, repo, columns)
    lines = output.partition("Seed 5")[2].partition("the end")[0].split("\r\n")
    shown = [line.rpartition("\r")[2].rstrip() for line in lines]
    epochs = [line for line in shown if line.startswith("epoch ")]
    assert [line[:9] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert all(re.search(r"100%  loss \d+\.\d+(e-\d+)?( |$)", line) for line in epochs)
    assert max(map(len, epochs)) < (columns or 100) and "Epoch: [" not in output
