"""The table of float16 errors, as tools/dev/half_errors.py prints it."""

import re

import numpy as np
import pytest

for package in ("onnx", "paddle2onnx", "onnxruntime"):
    pytest.importorskip(package, reason=f"needs the package {package}")

from tests.tools.in_process import run_tool  # noqa: E402
from tools.dev.half_errors import TITLES, Errors, Row  # noqa: E402


def test_errors_of_one_image():
    raw = [np.full((1, 2, 2), 3.0), np.full((1, 2, 2), -4.0)]
    other = [raw[0] + 0.5, raw[1].copy()]
    boxes = np.array([[0, 0.9, 10, 10, 50, 50], [1, 0.8, 60, 60, 90, 90]], np.float32)
    moved = boxes + np.array([[0, 0.01, 0.5, 0, 0, 0], [0, 0, 20, 0, 0, 0]], np.float32)
    found = Errors.between(raw, other, boxes, moved)
    assert found[:3] == (4.0, 0.5, pytest.approx(0.5 / 3))
    assert (found.matched, found.total) == (1, 2)
    assert (found.score, found.px) == (pytest.approx(0.01), pytest.approx(0.5))


def test_errors_of_all_images():
    one, other = Errors(4, 0.1, 0.2, 3, 4, 0.01, 0.5), Errors(2, 0.2, 0.1, 5, 5, 0.02, 0.25)
    assert Errors.together([one, other]) == Errors(4, 0.2, 0.2, 8, 9, 0.02, 0.5)
    cells = Row("small", (96, 128), one, 2).cells()
    assert len(cells) == len(TITLES)
    assert cells[:2] == ["small", "96 x 128"] and "3 of 4" in cells and cells[-1] == "2"


def test_the_command_line(small_config, tiny_coco, capsys):
    images = ["--images", tiny_coco / "images" / "val_0.jpg"]
    run_tool("dev.half_errors", "-c", small_config, *images, "--input-size", 96)
    *_, row = capsys.readouterr().out.splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:2] == ["small", "96"]
    largest, raw, norm = map(float, cells[2:5])
    assert 1e-5 < norm < 0.03 and 0 < raw < 0.15 * largest
    assert re.fullmatch(r"\d+ of \d+", cells[5])
