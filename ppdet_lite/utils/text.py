"""Text on images, in any letters.

OpenCV 5 draws every letter. OpenCV 4 draws ASCII only; other names are drawn there by Pillow (the
extra `fonts`) with a font of this machine that has their letters.
"""

from __future__ import annotations

import functools
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Optional

import cv2
import numpy as np

Color = tuple[int, int, int]

FONT_VARIABLE = "PPDET_FONT"
"""Environment variable with the path of a font file that is tried first."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DRAWS_UNICODE = int(cv2.__version__.split(".")[0]) >= 5
_CAPITAL = 0.72  # height of capital letters in sizes of a font
_FOLDERS = {
    "linux": ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts"),
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": (os.path.join(os.environ.get("WINDIR", "C:/Windows"), "Fonts"),),
}
_FAMILIES = (
    *("notosans", "dejavusans", "arial", "segoeui", "helvetica"),
    *(
        "sourcehansans",
        "wqy",
        "droidsansfallback",
        "msyh",
        "simhei",
        "pingfang",
        "hiragino",
        "yugoth",
    ),
    *("malgun", "nirmala", "tahoma", "freesans", "unifont"),
)
"""Families of fonts in the order in which they are tried, by the beginning of their files."""


class TextSize(NamedTuple):
    """Width and height of a text in pixels, and what lies below its base line."""

    width: int
    height: int
    baseline: int


def can_draw(text: str) -> bool:
    """True if every letter of the text can be drawn here."""
    return _DRAWS_UNICODE or text.isascii() or font_with(text) is not None


def text_size(text: str, text_px: float) -> TextSize:
    """Size of a text whose capital letters are `text_px` high."""
    if _is_for_opencv(text):
        (width, height), baseline = cv2.getTextSize(text, _FONT, *_scale(text_px))
        return TextSize(width, height, baseline)
    font = _sized(text, text_px)
    ascent, descent = font.getmetrics()
    return TextSize(round(font.getlength(text)), round(ascent * 0.85), descent)


def put_text(
    canvas: np.ndarray, text: str, base: tuple[int, int], text_px: float, color: Color
) -> None:
    """Draws a text into uint8 [H, W, 3]; `base` is x, y of the left end of its base line."""
    if _is_for_opencv(text):
        scale, thickness = _scale(text_px)
        cv2.putText(canvas, text, base, _FONT, scale, color, thickness, cv2.LINE_AA)
        return
    from PIL import Image, ImageDraw  # font_with found it

    size = text_size(text, text_px)
    left, top = max(base[0], 0), max(base[1] - size.height - 4, 0)
    right = min(base[0] + size.width + 4, canvas.shape[1])
    bottom = min(base[1] + size.baseline + 4, canvas.shape[0])
    if right <= left or bottom <= top:
        return
    patch = Image.fromarray(np.ascontiguousarray(canvas[top:bottom, left:right]))
    at = (base[0] - left, base[1] - top)
    ImageDraw.Draw(patch).text(at, text, fill=color, font=_sized(text, text_px), anchor="ls")
    canvas[top:bottom, left:right] = np.asarray(patch)


def _is_for_opencv(text: str) -> bool:
    return _DRAWS_UNICODE or text.isascii() or font_with(text) is None


def _scale(text_px: float) -> tuple[float, int]:
    """OpenCV's scale and thickness; its letters are 22 pixels high at scale 1."""
    return max(text_px / 22.0, 0.05), max(1, round(text_px / 11))


@functools.lru_cache(maxsize=4096)
def font_with(text: str) -> Optional[str]:
    """Path of a font that has all letters of the text; "" for the one inside of Pillow; None where
    there is none, or no Pillow.
    """
    if find_spec("PIL") is None:
        return None
    letters = "".join(sorted({letter for letter in text if not letter.isascii()}))
    return _font_of_letters(letters)


@functools.lru_cache(maxsize=256)
def _font_of_letters(letters: str) -> Optional[str]:
    own = os.environ.get(FONT_VARIABLE)
    for path in (*([own] if own else []), *_font_files(), ""):
        if _has(path, letters):
            return path
    return None


@functools.cache
def _font_files() -> tuple[str, ...]:
    """Font files of this machine that may be used, those of the first family first."""
    folders = [Path(folder).expanduser() for folder in _FOLDERS.get(sys.platform, ())]
    matplotlib = find_spec("matplotlib")  # has DejaVu with it
    if matplotlib and matplotlib.origin:
        folders.append(Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf")
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*.*"))]
    ranked = []
    for path in files:
        name = path.stem.lower().replace("-", "").replace(" ", "")
        rank = next((i for i, family in enumerate(_FAMILIES) if name.startswith(family)), None)
        if path.suffix.lower() in (".ttf", ".otf", ".ttc") and rank is not None:
            is_plain = not any(word in name for word in ("bold", "italic", "oblique", "mono"))
            ranked.append((not is_plain, rank, len(name), str(path)))
    return tuple(path for *_, path in sorted(ranked))


def _has(path: str, letters: str) -> bool:
    """True if the font draws each letter, and not the sign for a missing one."""
    try:
        font = _load(path, 20)
        missing = bytes(font.getmask("\U0010fffe"))
        return all(bytes(font.getmask(letter)) != missing for letter in letters)
    except (OSError, ValueError, UnicodeError):  # no font, or a bitmap font of Latin-1
        return False


def _sized(text: str, text_px: float) -> Any:
    path = font_with(text)
    assert path is not None
    return _load(path, max(4, round(text_px / _CAPITAL)))


@functools.lru_cache(maxsize=64)
def _load(path: str, size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.truetype(path, size) if path else ImageFont.load_default(size)
