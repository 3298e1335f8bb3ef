"""A figure of a search: fitness over trials, and over the values of each gene."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any, Sequence

from ppdet_lite.core.errors import require
from ppdet_lite.evolve.genes import Gene
from ppdet_lite.evolve.results import Results
from ppdet_lite.utils.files import replacing

_COLUMNS = 3


def draw_search(results: Results, genes: Sequence[Gene], path: Path) -> None:
    """Writes the figure to a .png file; crosses are trials that failed, the star is the best."""
    require("matplotlib", "the figure of a search", "plots")
    from matplotlib.figure import Figure

    rows = math.ceil((len(genes) + 1) / _COLUMNS)
    figure = Figure(figsize=(4 * _COLUMNS, 3.2 * rows), layout="constrained")
    axes: Any = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    ranked = results.ranked()
    failed = [row for row in results.rows if row.fitness is None]
    lowest = ranked[-1].fitness if ranked else 0.0
    for number, axis in enumerate(axes):
        if number > len(genes):
            axis.set_visible(False)
            continue
        gene = genes[number - 1] if number else None
        places = [row.values[gene.name] if gene else row.trial for row in ranked]
        axis.scatter(places, [row.fitness for row in ranked], s=14)
        crosses = [row.values[gene.name] if gene else row.trial for row in failed]
        axis.scatter(crosses, [lowest] * len(failed), marker="x", color="tab:red")
        if ranked:
            axis.scatter(places[:1], [ranked[0].fitness], marker="*", s=140, color="tab:orange")
        if gene and gene.low > 0 and gene.high / gene.low >= 50:
            axis.set_xscale("log")
        axis.set_xlabel(gene.name if gene else "trial")
        axis.set_ylabel("fitness")
        axis.grid(alpha=0.3)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    with replacing(path) as stream:
        stream.write(content.getvalue())
