"""One case in a process of its own: python -m ppdet_lite.benchmark.gpu_check.worker JOB.json

JOB.json holds the case, the setup and the file of the results, which is written again whenever
something is measured.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from ppdet_lite.benchmark.gpu_check.cases import Case, Setup
from ppdet_lite.core.errors import UserError
from ppdet_lite.utils.files import write_json

WORK = {
    "reference": ("inference", "make_references"),
    "speed": ("inference", "measure_speed"),
    "other model": ("inference", "measure_other_model"),
    "throughput": ("throughput", "measure_throughput"),
    "training": ("training", "measure_training"),
}
"""Module and function of each job; modules are imported where they are needed, for Paddle may not
be there."""


class Notes:
    """Results by name, in a file that is always up to date."""

    def __init__(self, path: Path):
        self.path, self.results = path, {}  # type: Path, dict[str, Any]

    def __call__(self, **results: Any) -> None:
        self.results.update(results)
        write_json(self.path, self.results)


def main() -> int:
    """Runs the case; returns 1 if it failed, with the reason among its results."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    case, setup, note = Case(**job["case"]), Setup.from_dict(job["setup"]), Notes(Path(job["file"]))
    module, name = WORK[case.job]
    work = getattr(import_module(f"ppdet_lite.benchmark.gpu_check.{module}"), name)
    try:
        work(case, setup, note)
    except UserError as error:
        # of an engine, not of a file or network: no other case of it needs to be tried
        is_missing = type(error) is UserError and "open_s" not in note.results
        note(failed=" ".join(str(error).split()), unavailable=is_missing)
        return 1
    except Exception as error:  # libraries of engines have no common base class; log: traceback
        note(failed=" ".join(f"{type(error).__name__}: {error}".split())[:500])
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
