"""Charts of the objects of a data set: classes, sizes, shapes, positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ppdet_lite.data.doctor.statistics import SplitStatistics
from ppdet_lite.data.subset import AREA_BOUNDS, SIZES
from ppdet_lite.report.charts import SOFT, Chart, as_chart, color, new_figure

MOST_CLASSES = 40
"""Classes in the chart of classes, the most frequent ones."""

_BINS = 40
_RATIO_TICKS = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)


def statistics_charts(splits: Sequence[SplitStatistics]) -> Iterator[Chart]:
    """All charts of splits that have objects."""
    yield _classes(splits)
    yield _sides(splits)
    yield _shares(splits)
    yield _ratios(splits)
    yield _per_image(splits)
    yield from _positions(splits)
    yield _image_sizes(splits)


def _classes(splits: Sequence[SplitStatistics]) -> Chart:
    names = list(dict.fromkeys(name for split in splits for name in split.class_names))
    counts = np.array(
        [
            [dict(zip(split.class_names, split.class_counts().tolist())).get(n, 0) for n in names]
            for split in splits
        ]
    )
    order = np.argsort(-counts.sum(axis=0), kind="stable")[:MOST_CLASSES]
    figure, axes = new_figure(width=12.8, height=max(1.8, 0.8 + 0.2 * len(order)))
    left = np.zeros(len(order))
    for number, split in enumerate(splits):
        values = counts[number][order]
        bars = axes.barh(
            np.arange(len(order)), values, 0.72, left, color=color(number), label=split.name
        )
        left += values
    axes.set_yticks(np.arange(len(order)), [_short(names[index]) for index in order])
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    is_wide = left.max() > 30 * max(left[left > 0].min(initial=1), 1)
    axes.bar_label(bars, [f"{total:,.0f}" for total in left], padding=3, fontsize=8)
    axes.margins(x=0.1)
    axes.set(title="Objects of each class", xlabel="objects")
    _legend(axes, splits)
    text = "The most frequent classes first." if is_wide else "Objects of every split."
    if len(names) > len(order):
        text += f" {len(names) - len(order)} rarer classes are in the table only."
    if is_wide:
        text += " Rare classes may need repeated images (repeat factor sampling) or more photos."
    return as_chart("classes", text, figure)


def _sides(splits: Sequence[SplitStatistics]) -> Chart:
    figure, axes = new_figure()
    sides = [np.sqrt(split.sides.prod(axis=1)) for split in splits]
    bins = np.geomspace(max(_least(sides), 0.5), max(_most(sides), 2.0) * 1.01, _BINS)
    _histograms(axes, sides, bins, splits)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    for bound in np.sqrt(AREA_BOUNDS):
        axes.axvline(bound, color=SOFT, linestyle=":", linewidth=1)
    axes.set(title="Size of the objects", xlabel="side = √(width x height), pixels")
    bounds = " and ".join(f"{bound:.0f}" for bound in np.sqrt(AREA_BOUNDS))
    text = f"Dotted: the bounds of COCO's {', '.join(SIZES)}, {bounds} pixels."
    return as_chart("sizes", text, figure)


def _shares(splits: Sequence[SplitStatistics]) -> Chart:
    figure, axes = new_figure()
    sides = [np.sqrt(split.shares[:, 2:].prod(axis=1)) for split in splits]
    _histograms(axes, sides, np.linspace(0, 1, _BINS), splits)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set(title="Size in the image", xlabel="side as a share of the image")
    low = np.median(np.concatenate(sides))
    text = (
        f"The median object has {low:.0%} of the side of its image: {640 * low:.0f} pixels where "
        f"the network sees 640 x 640."
    )
    return as_chart("shares", text, figure)


def _ratios(splits: Sequence[SplitStatistics]) -> Chart:
    figure, axes = new_figure()
    ratios = [np.log2(split.sides[:, 0] / split.sides[:, 1]) for split in splits]
    far = max(abs(_least(ratios)), abs(_most(ratios)), 1.0)
    _histograms(axes, ratios, np.linspace(-min(far, 4), min(far, 4), _BINS), splits)
    ticks = [ratio for ratio in _RATIO_TICKS if abs(np.log2(ratio)) <= far]
    axes.set_xticks(np.log2(ticks), [f"{r:g}" if r >= 1 else f"1/{1 / r:g}" for r in ticks])
    axes.set(title="Shape of the objects", xlabel="width / height")
    return as_chart("shapes", "Left of 1: higher than wide.", figure)


def _positions(splits: Sequence[SplitStatistics]) -> Iterator[Chart]:
    """Maps of the first split, which is trained on."""
    split = splits[0]
    figure, axes = new_figure(height=3.9)
    x, y = split.shares[:, 0], split.shares[:, 1]
    axes.hist2d(x, y, bins=32, range=[[0, 1], [0, 1]], cmap="Blues")
    axes.set(title=f"Centers of the objects ({split.name})", xlabel="x", ylabel="y")
    _as_image(axes)
    yield as_chart("centers", "Darker: more objects have their center there.", figure)
    figure, axes = new_figure(height=3.9)
    shown = axes.imshow(split.coverage(), extent=(0, 1, 1, 0), cmap="Blues", vmin=0)
    axes.set(title=f"Places that objects cover ({split.name})", xlabel="x", ylabel="y")
    _as_image(axes)
    figure.colorbar(shown, ax=axes, format=lambda value, _: f"{value:.0%}", shrink=0.85)
    yield as_chart("coverage", "Share of all objects that cover the place.", figure)


def _as_image(axes) -> None:
    axes.set(xlim=(0, 1), ylim=(1, 0), aspect="equal")
    axes.grid(visible=False)


def _per_image(splits: Sequence[SplitStatistics]) -> Chart:
    figure, axes = new_figure()
    counts = [split.per_image.astype(float) for split in splits]
    most = _most(counts)
    step = max(1, int(np.ceil((most + 1) / _BINS)))
    _histograms(axes, counts, np.arange(-0.5, most + 1 + step, step), splits)
    axes.set(title="Objects in an image", xlabel="objects", ylabel="share of the images")
    mean = np.concatenate(counts).mean()
    return as_chart("per_image", f"{mean:.1f} on average, at most {most:.0f}.", figure)


def _image_sizes(splits: Sequence[SplitStatistics]) -> Chart:
    figure, axes = new_figure(height=3.9)
    for number, split in enumerate(splits):
        sizes, counts = np.unique(split.image_sizes, axis=0, return_counts=True)
        area = 12 + 160 * counts / counts.max()
        axes.scatter(sizes[:, 0], sizes[:, 1], area, alpha=0.5, color=color(number), linewidths=0)
        axes.scatter([], [], 30, alpha=0.5, color=color(number), label=split.name)
    most = max(int(split.image_sizes.max()) for split in splits) * 1.08
    axes.plot([0, most], [0, most], color=SOFT, linestyle=":", linewidth=1)
    axes.set(title="Sizes of the images", xlabel="width, pixels", ylabel="height, pixels")
    axes.set(xlim=(0, most), ylim=(0, most), aspect="equal")
    _legend(axes, splits)
    return as_chart("image_sizes", "Larger dots: more images of this size.", figure)


def _histograms(axes, values: Sequence[np.ndarray], bins, splits) -> None:
    """A line for each split: shares of its objects."""
    for number, (each, split) in enumerate(zip(values, splits)):
        counts, edges = np.histogram(each, bins)
        share = counts / max(len(each), 1)
        axes.stairs(share, edges, fill=True, alpha=0.18, color=color(number))
        axes.stairs(share, edges, color=color(number), linewidth=1.5, label=split.name)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_ylabel("share of the objects")
    _legend(axes, splits)


def _legend(axes, splits: Sequence[SplitStatistics]) -> None:
    if len(splits) > 1:
        axes.legend()


def _least(values: Sequence[np.ndarray]) -> float:
    return min(float(each.min()) for each in values if len(each))


def _most(values: Sequence[np.ndarray]) -> float:
    return max(float(each.max()) for each in values if len(each))


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"
