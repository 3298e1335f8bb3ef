"""Names in any letters are drawn, by OpenCV 5 or with a font of this machine."""

import os

import numpy as np
import pytest

from ppdet_lite.utils import text as module
from ppdet_lite.utils.text import FONT_VARIABLE, can_draw, font_with, put_text, text_size


@pytest.fixture
def opencv_4(monkeypatch):
    """OpenCV that draws ASCII only."""
    pytest.importorskip("PIL")
    monkeypatch.setattr(module, "_DRAWS_UNICODE", False)


def drawn(text, text_px=20.0):
    canvas = np.full((60, 300, 3), 255, np.uint8)
    put_text(canvas, text, (10, 40), text_px, (200, 0, 0))
    return canvas


def test_letters_beyond_ascii(opencv_4):
    assert can_draw("Füße") and can_draw("кошка")
    image = drawn("Füße")
    ys, xs = np.nonzero((image != 255).any(axis=2))
    size = text_size("Füße", 20)
    assert xs.min() >= 8 and xs.max() <= 10 + size.width + 2
    assert 40 - size.height - 4 <= ys.min() and ys.max() <= 40 + size.baseline
    assert 16 <= 40 - ys.min() <= 28  # the height of capital letters, and the dots
    assert tuple(image[ys[len(ys) // 2], xs[len(xs) // 2]]) != (255, 255, 255)
    assert (drawn("Füße") != drawn("Fuße")).any()


def test_text_at_the_border(opencv_4):
    canvas = np.full((20, 30, 3), 255, np.uint8)
    put_text(canvas, "Größe", (-5, 18), 12.0, (0, 0, 0))
    put_text(canvas, "Größe", (400, 18), 12.0, (0, 0, 0))
    assert (canvas != 255).any()


def test_letters_of_no_font(opencv_4, monkeypatch):
    module._font_of_letters.cache_clear()
    font_with.cache_clear()
    monkeypatch.setattr(module, "_font_files", lambda: ())
    assert can_draw("plain") and not can_draw("\U00012000")  # cuneiform
    assert text_size("\U00012000", 20).width > 0
    font_with.cache_clear()
    module._font_of_letters.cache_clear()


def test_the_font_of_the_variable_comes_first(opencv_4, monkeypatch):
    files = module._font_files()
    if not files:
        pytest.skip("needs a font file on this machine")
    font_with.cache_clear()
    module._font_of_letters.cache_clear()
    monkeypatch.setitem(os.environ, FONT_VARIABLE, files[-1])
    assert font_with("é") == files[-1]
    font_with.cache_clear()
    module._font_of_letters.cache_clear()
