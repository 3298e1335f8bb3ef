"""Charts of an evaluation: error types, precision over recall, F1 over threshold, confusion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ppdet_lite.metrics.analysis.error_types import KINDS
from ppdet_lite.metrics.analysis.matching import RECALLS
from ppdet_lite.metrics.analysis.score_curves import ScoreCurve
from ppdet_lite.report.charts import (
    COLORS,
    INK,
    SOFT,
    Chart,
    as_chart,
    color,
    new_figure,
    shortened,
)
from ppdet_lite.report.evaluation.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID = np.linspace(0.0, 1.0, 201)
_HEIGHT = 4.6
_MOST_NAMED = 8
_MOST_NUMBERS = 16
_MOST_TICKS = 90


def error_chart(evaluation: Evaluation) -> Chart:
    """Bars of what each kind of error costs."""
    base, costs = evaluation.costs
    counts = evaluation.errors.counts()
    figure, axes = new_figure(height=3.1)
    places = np.arange(len(KINDS))[::-1]
    percent = 100 * np.array(costs)
    axes.barh(places, percent, color=[color(i) for i in range(len(KINDS))], height=0.66)
    top = max(1.0, 1.28 * percent.max())
    for place, value, count in zip(places, percent, counts):
        axes.text(value + top / 80, place, f"{value:.1f}", va="center", weight="bold", size=9)
        axes.text(top, place, f"{count:,}", va="center", ha="right", size=8, color=SOFT)
    axes.set_yticks(places, KINDS)
    axes.tick_params(axis="y", length=0, labelsize=9, labelcolor=INK)
    axes.set_xlim(0, top)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("points of AP50 that would be gained without these errors")
    has_labels = any(curve.labels for curve in evaluation.curves)
    ap50 = f"AP50 is {100 * base:.1f}" if has_labels else "no labels, no AP50"
    axes.set_title(f"Cost of each kind of error ({ap50})")
    text = "To the right the number of errors. Costs do not add up: one error hides another."
    return as_chart("error_types", text, figure)


def curve_charts(evaluation: Evaluation) -> Iterator[Chart]:
    """Precision over recall and F1, precision, recall over the threshold, class by class."""
    every = zip(map(shortened, evaluation.boxes.class_names), evaluation.curves)
    known = [(name, curve) for name, curve in every if curve.labels]
    if not known:
        return
    yield _precision_recall(known)
    yield _over_threshold("f1", "F1", 2, known)
    yield _over_threshold("precision", "Precision", 0, known)
    yield _over_threshold("recall", "Recall", 1, known)


Named = list[tuple[str, ScoreCurve]]


def _precision_recall(known: Named) -> Chart:
    figure, axes = new_figure(height=_HEIGHT)
    lines = [_envelope(curve) for _, curve in known]
    ranking = np.argsort([-line.mean() for line in lines], kind="stable").tolist()
    for rank, index in enumerate(ranking):
        name = f"{known[index][0]}  {100 * lines[index].mean():.1f}"
        _line(axes, 100 * RECALLS, lines[index], name, rank, len(known))
    mean = np.mean(lines, axis=0)
    if len(known) > 1:
        label = f"mean of {len(known)} classes  {100 * mean.mean():.1f}"
        axes.plot(100 * RECALLS, 100 * mean, color=INK, linewidth=2.6, label=label)
    _square(axes, "Precision over recall", "recall (%)", "precision (%)")
    axes.set_xlim(0, 100)
    _legend_below(figure, known, "AP50")
    return as_chart("precision_recall", "At IoU 0.5; behind each class its AP50.", figure)


def _over_threshold(name: str, title: str, which: int, known: Named) -> Chart:
    figure, axes = new_figure(height=_HEIGHT)
    lines = [curve.at(GRID)[which] for _, curve in known]
    best = [max(float(curve.f1.max(initial=0)), 0.0) for _, curve in known]
    for rank, index in enumerate(np.argsort([-value for value in best], kind="stable").tolist()):
        label = known[index][0]
        if name == "f1":
            label += f"  {100 * best[index]:.1f} at {known[index][1].threshold():.2f}"
        _line(axes, GRID, lines[index], label, rank, len(known))
    if len(known) > 1:
        stacked = np.array(lines)
        known_there = np.isfinite(stacked)
        count = known_there.sum(axis=0)
        mean = np.where(known_there, stacked, 0).sum(axis=0) / np.maximum(count, 1)
        label = f"mean of {len(known)} classes"
        if name == "f1":
            label += f"  {100 * mean.max():.1f} at {GRID[mean.argmax()]:.2f}"
        mean = np.where(count > 0, 100 * mean, np.nan)
        axes.plot(GRID, mean, color=INK, linewidth=2.6, label=label)
    unit = "F1 (%)" if name == "f1" else f"{name} (%)"
    _square(axes, f"{title} over the score threshold", "score threshold", unit)
    axes.set_xlim(0, 1)
    _legend_below(figure, known, "")
    text = {
        "f1": "The threshold of the best F1 of a class is what --threshold auto takes.",
        "precision": "The share of the detections above a threshold that are right.",
        "recall": "The share of the labels that are found above a threshold.",
    }[name]
    return as_chart(f"{name}_over_threshold", text, figure)


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, name: str, rank: int, count: int) -> None:
    """Shares in percent. Colored and named where there are few; of many only the best and worst."""
    few = count <= _MOST_NAMED
    named = few or rank < 3 or rank >= count - 3
    number = rank if few else (rank if rank < 3 else rank - count + 6)
    ink = color(number) if named else "#b9c1cd"
    axes.plot(x, 100 * y, color=ink, linewidth=1.5 if named else 0.6, alpha=1 if named else 0.6)
    if named:  # a label that begins with an underscore would be left out
        axes.plot([], [], color=ink, label=f" {name}" if name.startswith("_") else name)


def _legend_below(figure: Figure, known: Named, text: str) -> None:
    """Below the plot, where it covers no line."""
    if len(known) > _MOST_NAMED:
        text = f"three best, three worst {text}".strip()
    figure.legend(loc="outside lower center", ncols=2, title=text, title_fontsize=8)


def _square(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_ylim(0, 102)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _envelope(curve: ScoreCurve) -> np.ndarray:
    """Best precision at each of the 101 recalls of COCO's metric."""
    best = np.maximum.accumulate(curve.precision[::-1])[::-1]
    places = np.searchsorted(curve.recall, RECALLS, side="left")
    envelope: np.ndarray = np.append(best, 0.0)[np.minimum(places, len(best))]
    return envelope


def confusion_chart(evaluation: Evaluation) -> Chart:
    """The matrix, every row as shares of its labels."""
    matrix = evaluation.confusion
    names = [*map(shortened, evaluation.boxes.class_names), "background"]
    count = len(names)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    side = float(np.clip(0.62 * count + 1.8, 4.2, 12.0))
    figure, axes = new_figure(width=side + 0.6, height=side)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    size = 8.5 if count <= _MOST_NUMBERS else max(5.8, 8.5 * _MOST_NUMBERS / count)
    # Of many names every k-th, with room for a letter's height; background always.
    step = -(-count // _MOST_TICKS)
    ticks = [*range(0, count - step, step), count - 1]
    shown = [names[tick] for tick in ticks]
    axes.set_xticks(ticks, shown, rotation=45 if count <= 30 else 90, fontsize=size)
    if count <= 30:
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, shown, fontsize=size)
    axes.grid(visible=False)
    for name in ("left", "bottom"):
        axes.spines[name].set_visible(False)
    axes.tick_params(length=0)
    if count <= _MOST_NUMBERS:
        for row, column in zip(*np.nonzero(matrix)):
            ink = "white" if shares[row, column] > 0.55 else INK
            text = f"{100 * shares[row, column]:.0f} %\n{matrix[row, column]:,}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=7.5)
    edges = np.arange(count + 1) - 0.5
    if count <= _MOST_NUMBERS:
        axes.hlines(edges, -0.5, count - 0.5, color="white", linewidth=1.5)
        axes.vlines(edges, -0.5, count - 0.5, color="white", linewidth=1.5)
    axes.axhline(count - 1.5, color=COLORS[1], linewidth=0.8)
    axes.axvline(count - 1.5, color=COLORS[1], linewidth=0.8)
    axes.set_xlabel("detected as")
    axes.set_ylabel("labeled as")
    axes.set_title("Confusion matrix")
    text = "Shares of the labels of a class (of the last row: of the detections of nothing)."
    if step > 1:
        text += f" One of {step} classes is named."
    return as_chart("confusion_matrix", text, figure)
