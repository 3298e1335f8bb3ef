"""The search: trials in turn or side by side, until there are enough."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Callable, NamedTuple, Optional, Protocol, Sequence

from ppdet_lite.core.errors import TrainingError
from ppdet_lite.evolve.genes import Gene
from ppdet_lite.evolve.results import Results, Row
from ppdet_lite.evolve.samplers import Sampler

_POLL_S = 0.05
_HOPELESS = 3


class Outcome(NamedTuple):
    """The end of a trial: its fitness, or None and the reason."""

    fitness: Optional[float]
    reason: str = ""


class Trial(Protocol):
    """A trial that has been started."""

    def outcome(self) -> Optional[Outcome]:
        """None while it runs."""
        ...

    def stop(self) -> None:
        """Ends it, if it still runs."""
        ...


class Objective(Protocol):
    """What makes trials."""

    def start(self, number: int, values: dict[str, float], device: str) -> Trial:
        """Starts trial `number` with the values (name of a gene -> value) on a device."""
        ...


def search(
    genes: Sequence[Gene],
    sampler: Sampler,
    objective: Objective,
    results: Results,
    trials: int,
    devices: Sequence[str] = ("",),
    told: Callable[[Row], None] = lambda row: None,
) -> None:
    """Runs trials until `results` has that many; those that it has are not repeated. The first one
    has the values that the genes start from.

    Args:
        devices: names for `Objective.start`, each of which has one trial at a time.
        told: called with every trial that has ended.

    Raises:
        TrainingError: the first trials have failed, and no other has succeeded.
    """
    running: dict[str, tuple[int, dict[str, float], float, Trial]] = {}

    def stop_all() -> None:
        for *_, trial in running.values():
            trial.stop()

    with ExitStack() as stack:
        stack.callback(stop_all)
        while True:
            known = {row.trial for row in results.rows} | {each[0] for each in running.values()}
            open_numbers = [number for number in range(trials) if number not in known]
            for device, number in zip([d for d in devices if d not in running], open_numbers):
                values = {gene.name: gene.fitted(gene.start) for gene in genes}
                if number:
                    values = sampler.values(number, genes, results.ranked())
                trial = objective.start(number, values, device)
                running[device] = number, values, time.monotonic(), trial
            if not running:
                return
            for device, (number, values, began, trial) in list(running.items()):
                outcome = trial.outcome()
                if outcome is None:
                    continue
                del running[device]
                row = Row(number, values, outcome.fitness, time.monotonic() - began, outcome.reason)
                results.add(row)
                told(row)
                _check_hope(results)
            if len(running) == len(devices):
                time.sleep(_POLL_S)


def _check_hope(results: Results) -> None:
    if len(results.rows) >= _HOPELESS and not results.ranked():
        reason = results.rows[0].reason
        raise TrainingError(f"{results.path}: all trials have failed; the first: {reason}")
