"""The look of the charts in a report; matplotlib without its global state."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ppdet_lite.core.errors import require
from ppdet_lite.utils.text import font_with

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, GRID = "#1f2733", "#6b7686", "#e6e9ef"
COLORS = ("#2563eb", "#e8590c", "#0f9d76", "#8b3fd1", "#d6336c", "#b58900", "#0891b2", "#64748b")
_STYLE: dict[str, Any] = {
    "font.size": 9,
    "text.parse_math": False,  # a class may be called $a$
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": "#c5ccd6",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.facecolor": "white",
    "legend.edgecolor": "none",
    "legend.framealpha": 0.8,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "figure.facecolor": "white",
}
_DPI = 160
_LONGEST_NAME = 26


class Chart(NamedTuple):
    """A chart as a file: `name` without its ending, a sentence that says how to read it, PNG."""

    name: str
    caption: str
    png: bytes


@contextmanager
def chart_style(texts: Sequence[str] = ()) -> Iterator[None]:
    """Context in which figures are made and saved.

    Args:
        texts: names that will be written, in any letters; a font of this machine that has them is
            used beside matplotlib's own. Letters that no font has become boxes.

    Raises:
        UserError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", "a report", "report")
    style = {**_STYLE, "font.family": ["DejaVu Sans", *_other_fonts("".join(texts))]}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _other_fonts(letters: str) -> list[str]:
    """Name of a font with all the letters, if they are more than ASCII and there is one."""
    path = None if letters.isascii() else font_with(letters)
    if not path:
        return []
    from matplotlib import font_manager

    font_manager.fontManager.addfont(path)
    return [font_manager.FontProperties(fname=path).get_name()]


def shortened(name: str) -> str:
    """A name that leaves room for the chart."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def new_figure(width: float = 6.2, height: float = 3.4) -> tuple[Figure, Axes]:
    """A figure of so many inches with one plot in it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def as_chart(name: str, caption: str, figure: Figure) -> Chart:
    """The figure, drawn."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI)
    return Chart(name, caption, content.getvalue())


def color(index: int) -> str:
    """A color for the line of that number; they repeat."""
    return COLORS[index % len(COLORS)]


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Writes names behind the ends of lines, in their colors, moved apart where they would touch.

    Args:
        ends: x, y, text and color of each, in units of the plot.
    """
    low, high = axes.get_ylim()
    needed = (high - low) * 0.055
    place = -float("inf")
    for x, y, text, ink in sorted(ends, key=lambda end: end[1]):
        place = max(y, place + needed)
        axes.annotate(
            *(text, (x, place)),
            xytext=(5, 0),
            textcoords="offset points",
            color=ink,
            fontsize=8,
            va="center",
            annotation_clip=False,
        )
