"""How the values of the next trial are chosen."""

from __future__ import annotations

from typing import Any, Protocol, Sequence

import numpy as np

from ppdet_lite.core.errors import require
from ppdet_lite.evolve.genes import Gene
from ppdet_lite.evolve.results import Row


class Sampler(Protocol):
    """Chooses values by what is known."""

    def values(self, trial: int, genes: Sequence[Gene], ranked: Sequence[Row]) -> dict[str, float]:
        """For trial number `trial`, name of a gene -> value inside its bounds; `ranked` are the
        trials that have a fitness, the fittest first.
        """
        ...


class GeneticSampler:
    """Mutates one of the fittest, as YOLOv4 (arXiv:2004.10934) found its rate and thresholds.

    The parent is drawn among the `parents` fittest, the fitter the likelier. Each gene is
    multiplied, with probability `share`, by a factor around 1, between 0.3 and 3; one that is 0 is
    moved by a like part of its range. At least one gene changes.

    Args:
        spread: standard deviation of a factor.
        seed: the values follow from it, the trial's number and the rows.
    """

    def __init__(self, parents: int = 5, share: float = 0.8, spread: float = 0.2, seed: int = 0):
        self.parents, self.share, self.spread, self.seed = parents, share, spread, seed

    def values(self, trial: int, genes: Sequence[Gene], ranked: Sequence[Row]) -> dict[str, float]:
        """See `Sampler`."""
        rng = np.random.default_rng((self.seed, trial))
        parent = {gene.name: gene.start for gene in genes}
        best = ranked[: self.parents]
        if best:
            fitness = np.array([row.fitness for row in best], np.float64)
            weights = fitness - fitness.min() + 1e-6
            parent = best[int(rng.choice(len(best), p=weights / weights.sum()))].values
        for _ in range(100):
            values = {gene.name: self._mutated(gene, parent[gene.name], rng) for gene in genes}
            if values != parent:
                break
        return values

    def _mutated(self, gene: Gene, value: float, rng: np.random.Generator) -> float:
        moved, factor = rng.random() < self.share, 1 + self.spread * rng.standard_normal()
        if not moved:
            return gene.fitted(value)
        factor = float(np.clip(factor, 0.3, 3.0))
        if value == 0:
            return gene.fitted((factor - 1) * (gene.high - gene.low))
        new = value * factor
        if gene.whole and round(new) == round(value):
            new = value + (1 if factor > 1 else -1)
        return gene.fitted(new)


class OptunaSampler:
    """Optuna's tree-structured Parzen estimator (the package optuna)."""

    def __init__(self, seed: int = 0):
        self.seed = seed
        self.optuna: Any = require("optuna", "`sampler` optuna", "search")

    def values(self, trial: int, genes: Sequence[Gene], ranked: Sequence[Row]) -> dict[str, float]:
        """See `Sampler`."""
        optuna = self.optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        kinds = optuna.distributions
        ranges = {
            gene.name: kinds.IntDistribution(int(gene.low), int(gene.high))
            if gene.whole
            else kinds.FloatDistribution(gene.low, gene.high, log=gene.low > 0)
            for gene in genes
        }
        sampler = optuna.samplers.TPESampler(seed=self.seed + trial)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for row in ranked:
            values = {gene.name: int(v) if gene.whole else v for gene, v in _pairs(genes, row)}
            done = optuna.trial.create_trial(params=values, distributions=ranges, value=row.fitness)
            study.add_trial(done)
        asked = study.ask(ranges).params
        return {gene.name: gene.fitted(asked[gene.name]) for gene in genes}


def _pairs(genes: Sequence[Gene], row: Row) -> list[tuple[Gene, float]]:
    return [(gene, row.values[gene.name]) for gene in genes]
