"""The results of a search: one file, written whole after every trial."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from ppdet_lite.core.errors import DataError
from ppdet_lite.evolve.conditions import differences
from ppdet_lite.evolve.genes import Gene
from ppdet_lite.utils.files import replacing

_TOLD = 5


@dataclass(frozen=True)
class Row:
    """A trial that has ended.

    Attributes:
        trial: its number, from 0.
        values: name of a gene -> value.
        fitness: of the trained model, None where the trial failed.
        reason: of the failure.
        seconds: that the trial took.
    """

    trial: int
    values: dict[str, float]
    fitness: Optional[float]
    seconds: float = 0.0
    reason: str = ""


class Results:
    """The rows in the file `path`: JSON lines, the first of which says what is searched.

    Args:
        conditions: what the fitnesses depend on beside the genes, see `conditions_of`.

    Raises:
        DataError: the file belongs to another search, or is damaged.
    """

    def __init__(
        self,
        path: Path,
        config: str,
        genes: Sequence[Gene],
        conditions: Optional[Mapping[str, Any]] = None,
    ):
        self.path = path
        about: dict[str, Any] = {"config": config, "genes": [asdict(gene) for gene in genes]}
        about["conditions"] = dict(conditions or {})
        self.about: dict[str, Any] = json.loads(json.dumps(about, default=str))
        self.rows: list[Row] = self._read()

    def _read(self) -> list[Row]:
        if not self.path.exists():
            return []
        try:
            first, *lines = self.path.read_text(encoding="utf-8").splitlines()
            about, rows = dict(json.loads(first)), [Row(**json.loads(line)) for line in lines]
        except (ValueError, TypeError) as error:
            raise DataError(f"{self.path}: no results of a search ({error})") from None
        problems = [
            f"{key}: found {_short(about.get(key))}, allowed to go on with: {_short(value)}"
            for key, value in self.about.items()
            if key != "conditions" and about.get(key) != value
        ]
        if not isinstance(about.get("conditions"), dict):
            problems.append("conditions: found none, as files of earlier versions have")
        elif not problems:
            problems = differences(about["conditions"], self.about["conditions"])
        if problems:
            more = f"; and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
            told = "; ".join(problems[:_TOLD])
            raise DataError(f"{self.path}: {told}{more}; choose another `output`")
        return rows

    def add(self, row: Row) -> None:
        """Enters a row and writes the file."""
        self.rows = sorted([*self.rows, row], key=lambda each: each.trial)
        lines = [json.dumps(self.about), *(json.dumps(asdict(each)) for each in self.rows)]
        with replacing(self.path) as stream:
            stream.write("".join(f"{line}\n" for line in lines).encode())

    def ranked(self) -> list[Row]:
        """Rows with a fitness, the fittest first."""
        found = [row for row in self.rows if row.fitness is not None]
        return sorted(found, key=lambda row: -(row.fitness or 0.0))


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(
            f"{gene['key']} {gene['low']:g}:{gene['high']:g} from {gene['start']:g}"
            if isinstance(gene, dict)
            else str(gene)
            for gene in value
        )
    return str(value)
