"""Charts of `results.csv`: losses, learning rate, metrics, time per step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ppdet_lite.report.charts import COLORS, SOFT, Chart, as_chart, color, label_ends, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Columns = Mapping[str, np.ndarray]
"""As `read_results_csv` returns them."""

Style = dict[str, Any]

_TIMES = ("batch_cost", "data_cost", "images_per_second")
_METRIC = "bbox/"
_MAIN_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "mAP")


def training_charts(columns: Columns) -> Iterator[Chart]:
    """A chart for everything that the table has values of."""
    if not np.isfinite(columns.get("loss", np.zeros(0))).any():
        return
    yield _losses(columns)
    # -1: no label of that size, or none at all
    if metrics := [key for key in _metrics(columns) if (columns[key] >= 0).any()]:
        yield _averages(columns, metrics)
    yield _learning_rate(columns)
    yield _times(columns)


def loss_names(columns: Columns) -> list[str]:
    """The terms of the loss, their sum `loss` first."""
    known = ("epoch", "iteration", "learning_rate", *_TIMES)
    terms = [key for key in columns if key not in known and not key.startswith(_METRIC)]
    return sorted(terms, key=lambda key: key != "loss")


def _metrics(columns: Columns) -> list[str]:
    return [f"{_METRIC}{name}" for name in _MAIN_METRICS if f"{_METRIC}{name}" in columns]


def _losses(columns: Columns) -> Chart:
    figure, axes = new_figure()
    ends = []
    for number, name in enumerate(loss_names(columns)):
        x, y = _points(columns, name)
        if not len(x):
            continue
        width = 2.2 if name == "loss" else 1.3
        axes.plot(x, y, color=color(number), linewidth=width, marker=_marker(x), markersize=3)
        ends.append((x[-1], y[-1], name, color(number)))
    shown = np.concatenate([_points(columns, name)[1] for name in loss_names(columns)])
    if (shown > 0).all() and shown.max() > 50 * np.median(shown):
        axes.set_yscale("log")
        axes.legend([name for *_, name, _ in ends], ncols=2)
    else:
        axes.set_ylim(bottom=min(0.0, float(shown.min())))
        label_ends(axes, ends)
    _finish(axes, columns, "Losses", "loss")
    text = "Means over the steps between two rows; the sum is drawn bold."
    return as_chart("losses", text, figure)


def _averages(columns: Columns, metrics: list[str]) -> Chart:
    figure, axes = new_figure()
    ends = []
    for number, key in enumerate(metrics):
        x, y = _points(columns, key)
        y = np.where(y < 0, np.nan, 100 * y)
        name, is_part = key[len(_METRIC) :], number > 2
        style: Style = {"linewidth": 1.2 if is_part else 2.0, "linestyle": ":" if is_part else "-"}
        axes.plot(x, y, color=color(number), marker="o", markersize=3.5, **style)
        ends.append((x[-1], float(y[np.isfinite(y)][-1]), name, color(number)))
    highest = 100 * _highest(columns, metrics)
    axes.set_ylim(0, max(5, min(100, 1.15 * max(end[1] for end in ends)), 1.05 * highest))
    label_ends(axes, ends)
    _finish(axes, columns, "Average precision of the evaluations", "AP (%)")
    text = "Of the weights for use (averaged with EMA); dotted: small, medium and large objects."
    return as_chart("average_precision", text, figure)


def _highest(columns: Columns, metrics: list[str]) -> float:
    return max(float(_points(columns, key)[1].max(initial=0)) for key in metrics)


def _learning_rate(columns: Columns) -> Chart:
    figure, axes = new_figure(height=2.6)
    x, y = _points(columns, "learning_rate")
    axes.plot(x, y, color=COLORS[3], marker=_marker(x), markersize=3)
    axes.fill_between(x, y, color=COLORS[3], alpha=0.08)
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    _finish(axes, columns, "Learning rate", "rate")
    return as_chart("learning_rate", "The rate of the last step of each row.", figure)


def _times(columns: Columns) -> Chart:
    figure, axes = new_figure(height=2.6)
    x, total = _points(columns, "batch_cost")
    _, data = _points(columns, "data_cost")
    axes.fill_between(x, total, color=COLORS[0], alpha=0.15, linewidth=0, label="computing")
    axes.fill_between(x, data, color=COLORS[1], alpha=0.75, linewidth=0, label="waiting for data")
    axes.plot(x, total, color=COLORS[0])
    axes.set_ylim(0, 1.5 * float(np.percentile(total, 98)))
    share = 100 * data.sum() / max(total.sum(), 1e-9)
    axes.legend(loc="upper right", ncols=2, bbox_to_anchor=(1, 0.93))
    _finish(axes, columns, "Seconds per step", "seconds")
    text = f"{share:.0f} % of the time went into waiting for data; evaluations are left out."
    return as_chart("time_per_step", text, figure)


def _points(columns: Columns, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Iterations and values of the rows that have one."""
    has = np.isfinite(columns[name])
    return columns["iteration"][has], columns[name][has]


def _marker(x: np.ndarray) -> str:
    return "o" if len(x) < 8 else ""


def _finish(axes: Axes, columns: Columns, title: str, unit: str) -> None:
    """Title, names of the axes, and the epochs above."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title)
    axes.set_xlabel("iteration")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(unit)
    axes.margins(x=0.01)
    axes.set_xlim(left=0)  # the charts stand one below the other
    ends = {int(e): int(i) for e, i in zip(columns["epoch"], columns["iteration"])}
    if len(ends) > 1:
        step = -(-len(ends) // 8)
        for epoch, iteration in list(ends.items())[step - 1 :: step]:
            axes.axvline(iteration, color=SOFT, linewidth=0.5, linestyle=(0, (2, 4)), zorder=0)
            places: Style = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            style: Style = {"fontsize": 6.5, "color": SOFT, "ha": "right", "va": "top"}
            axes.annotate(f"epoch {epoch}", (iteration, 1), (-2, -1), **places, **style)
