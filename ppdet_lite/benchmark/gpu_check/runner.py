"""Runs the cases one after the other, each in a process of its own, within a time."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Sequence

from ppdet_lite.benchmark.engines import ENGINES
from ppdet_lite.benchmark.gpu_check.cases import Case, Setup
from ppdet_lite.runtime.engines.tf32 import OVERRIDE
from ppdet_lite.utils.files import write_json

Row = dict[str, Any]
"""A case's results by name, beside `case`; `failed` is the reason of one that did not end well."""

SHORTEST_SECONDS = 5.0
"""A case is not started with less time left."""

LOG_END = 300
"""Characters of a log that a reason shows."""


def run_case(case: Case, setup: Setup, number: int, seconds: float) -> Row:
    """Runs one; the row holds what was measured before an error, too."""
    folder = setup.output / "cases"
    folder.mkdir(parents=True, exist_ok=True)
    job, results, log = (folder / f"{number:03d}.{end}" for end in ("job.json", "json", "log"))
    results.unlink(missing_ok=True)
    write_json(job, {"case": asdict(case), "setup": setup.as_dict(), "file": str(results)})
    started = time.monotonic()
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker", str(job)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment(case)},
            start_new_session=True,  # so that its reader's processes end with it
        )
        try:
            code = process.wait(seconds)
            reason = f"exit code {code}" if code > 0 else f"signal {-code}"
        except subprocess.TimeoutExpired:
            code, reason = -1, f"ended after {seconds:.0f} s"
        finally:
            _end_session(process)
    row: Row = {"seconds": time.monotonic() - started}
    if results.is_file():
        row.update(json.loads(results.read_text(encoding="utf-8")))
    if code != 0 and "failed" not in row:
        row["failed"] = f"{reason}; {_last_words(log)}"
    return row


def run_cases(
    cases: Sequence[Case],
    setup: Setup,
    *,
    budget_s: float,
    keep: Callable[[list[Row]], object],
    say: Callable[[str], None] = print,
    run: Callable[..., Row] = run_case,
) -> list[Row]:
    """Runs all cases in their order.

    Args:
        budget_s: seconds for all; cases that do not fit any more are rows with that reason.
        keep: takes all rows so far, after every case.
        run: runs a case, see `run_case`.

    Returns:
        A row per case, in the order of `cases`.
    """
    rows: list[Row] = []
    unavailable: dict[str, str] = {}  # engine -> the reason
    end = time.monotonic() + budget_s
    for number, case in enumerate(cases):
        left = end - time.monotonic()
        if left < SHORTEST_SECONDS:
            row: Row = {"failed": f"not started: the {budget_s:.0f} s of this run were used up"}
        elif (reason := unavailable.get(case.engine)) or (
            reason := unavailable.get(plain_engine(case.engine))
        ):
            row = {"failed": reason}
        else:
            row = run(case, setup, number, min(case.seconds, left))
        if row.get("unavailable"):
            unavailable[case.engine] = row["failed"]
        row = {"case": {**asdict(case), "name": case.name}, **row}
        rows.append(row)
        said = row.get("failed") or ", ".join(shown(row))
        say(f"[{number + 1}/{len(cases)}, {end - time.monotonic():.0f} s left] {case.name}: {said}")
        keep(rows)
    return rows


def environment(case: Case) -> dict[str, str]:
    """Turns TF32 off in all of NVIDIA's libraries for engines on a GPU that are not about it:
    Paddle's have no other switch."""
    engine = ENGINES.get(case.engine)
    is_off = engine is not None and engine.device == "GPU" and engine.precision != "tf32"
    return {OVERRIDE: "0"} if is_off else {}


def plain_engine(name: str) -> str:
    """The engine in float32 and without a CUDA graph; where it is missing, the others are."""
    plain = re.sub(r"_(tf32|fp16|int8)(_graph)?$|_fp32_graph$", "_fp32", name)
    return "gpu" if plain == "gpu_fp32" else plain


def _end_session(process: "subprocess.Popen[bytes]") -> None:
    """Ends the process and those that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(log: Path) -> str:
    text = " ".join(log.read_text(encoding="utf-8", errors="replace").split())
    return f"its log ends: {text[-LOG_END:]}" if text else "its log is empty"


def shown(row: Row) -> list[str]:
    """The main results of a row in words."""
    parts = [
        f"{name[:-3]} {row[name]['median']:.2f} ms" for name in ("raw_ms", "nms_ms") if name in row
    ]
    parts += [f"{row[name]:.1f} images/s" for name in ("images_per_s",) if name in row]
    parts += [f"boxes {row['boxes']}"] if isinstance(row.get("boxes"), str) else []
    parts += [f"skipped: {row['skipped']}"] if "skipped" in row else []
    return parts or ["done"]
