"""Figure 1 of the PP-YOLOv2 paper: accuracy over speed, with results of one's own."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppdet_lite.core.errors import ConfigError, require
from ppdet_lite.report.results import Result, pareto_front
from ppdet_lite.utils.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE_TYPES = (".png", ".svg", ".pdf")

AXES = {
    "fps": "images per second",
    "fps_tensorrt": "images per second, TensorRT FP16",
}


def draw_pareto(published: Sequence[Result], own: Sequence[Result], speed: str) -> Figure:
    """The figure: a line for each method through its input sizes, published ones thin, own ones
    bold, and the front of all of them dashed."""
    require("matplotlib", "a figure", "plots")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    front = pareto_front([*published, *own], speed)
    axes.plot(
        [result.speed(speed) for result in front],
        [result.ap for result in front],
        color="0.6",
        linestyle="--",
        linewidth=5,
        alpha=0.4,
        label="front of all",
    )
    styles: tuple[tuple[Sequence[Result], dict[str, Any]], ...] = (
        (published, {"marker": "o", "markersize": 4, "linewidth": 1}),
        (own, {"marker": "*", "markersize": 12, "linewidth": 2.5}),
    )
    for results, style in styles:
        for method, rows in _by_method(results, speed).items():
            name = f"{method} (own)" if results is own else method
            places = [(row.speed(speed), row.ap) for row in rows]
            axes.plot(*zip(*places), label=name, **style)
            for row, place in zip(rows, places):
                axes.annotate(row.size, place, (4, 4), textcoords="offset points", fontsize=7)
    axes.set_xlabel(AXES[speed])
    axes.set_ylabel("COCO AP, percent")
    if published:
        axes.set_title("published: V100, batch 1, AP on test-dev", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _by_method(results: Sequence[Result], speed: str) -> dict[str, list[Result]]:
    """The rows of each method that have the speed, the slowest first."""
    methods: dict[str, list[Result]] = {}
    for result in results:
        if not math.isnan(result.speed(speed)):
            methods.setdefault(result.method, []).append(result)
    return {name: sorted(rows, key=lambda row: row.speed(speed)) for name, rows in methods.items()}


def write_figure(figure: Figure, path: Path) -> None:
    """Writes the figure in the format of the file's ending, one of FILE_TYPES.

    Raises:
        ConfigError, DataError: another ending; a file that cannot be written.
    """
    if path.suffix.lower() not in FILE_TYPES:
        raise ConfigError(f"`output`: found {path}, allowed: {', '.join(FILE_TYPES)}")
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix.lower()[1:], dpi=150)
    with replacing(path) as stream:
        stream.write(content.getvalue())
