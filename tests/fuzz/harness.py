"""Runs the trials of a kind of damaged input, each with a limit of time and memory.

A kind is a file `tests/fuzz/kind_NAME.py` with

    prepare(folder)      writes the undamaged input, once;
    trial(rnd, folder)   writes one damaged input, chosen by `rnd` alone, and returns a `Trial`;
    LIMITS               (seconds, megabytes) of a trial, in place of the usual;
    NEEDS                optional packages.

Trials run in a process of their own, so a crash or a hang ends one trial and is reported like the
others. Run one kind by hand: `python -m tests.fuzz coco --count 2000 --seed 7`.
"""

from __future__ import annotations

import importlib
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

from ppdet_lite.core.errors import UserError

SECONDS, MEGABYTES = 20, 1500
GOOD = ("fine", "clear")
KINDS = sorted(path.stem[len("kind_") :] for path in Path(__file__).parent.glob("kind_*.py"))


@dataclass
class Trial:
    """One damaged input.

    Attributes:
        label: the damage, short.
        run: loads the input; any result is fine.
        names: an error must name at least one of these (the file, the key).
    """

    label: str
    run: Callable[[], Any]
    names: tuple[str, ...]


@dataclass
class Report:
    """Outcomes of the trials: "fine" (loaded), "clear" (one line of error that names the input),
    or a fault: "unclear", "traceback", "memory", "hang", "crash".
    """

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    peak_mb: int = 0

    def add(self, outcome: dict[str, Any], seed: int) -> None:
        self.counts[outcome["outcome"]] += 1
        self.peak_mb = max(self.peak_mb, outcome.get("mb", 0))
        if outcome["outcome"] not in GOOD:
            place = f"--seed {seed} --first {outcome['number']} --count 1"
            self.faults.append(
                f"{outcome['outcome']}: {outcome['label']}: {outcome['text']} ({place})"
            )


def needed_packages(kind: str) -> tuple[str, ...]:
    """The optional packages of a kind."""
    return getattr(importlib.import_module(f"tests.fuzz.kind_{kind}"), "NEEDS", ())


def run_kind(kind: str, count: int, seed: int = 0, first: int = 0) -> Report:
    """Runs the trials `first` to `first + count` of a kind; the same seed gives the same inputs."""
    report, number = Report(), first
    with tempfile.TemporaryDirectory(prefix=f"fuzz_{kind}_") as folder:
        while number < first + count:
            for outcome in _outcomes(kind, seed, number, first + count - number, folder):
                report.add(outcome, seed)
                number = outcome["number"] + 1
    return report


def _outcomes(
    kind: str, seed: int, first: int, count: int, folder: str
) -> Iterator[dict[str, Any]]:
    """The outcomes of a process, until it ends or dies."""
    command = [sys.executable, "-m", "tests.fuzz", kind, "--child", folder]
    command += ["--seed", str(seed), "--first", str(first), "--count", str(count)]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as child,
    ):
        running: Optional[dict[str, Any]] = None
        assert child.stdout is not None
        for line in child.stdout:
            entry = json.loads(line)
            running = entry if "outcome" not in entry else None
            if running is None:
                yield entry
        status = child.wait()
        errors.seek(0)
        if running is not None:  # the process died in this trial
            outcome = "hang" if status == -signal.SIGALRM else "crash"
            yield {**running, "outcome": outcome, "text": f"{status}: {errors.read()[-300:]}"}
        elif status:
            raise RuntimeError(f"{kind}: the trials could not start: {errors.read()[-2000:]}")


def child(kind: str, seed: int, first: int, count: int, folder: str) -> None:
    """Runs trials in this process and prints a line of JSON before and after each."""
    module = importlib.import_module(f"tests.fuzz.kind_{kind}")
    answers, sys.stdout = sys.stdout, sys.stderr
    module.prepare(Path(folder))
    seconds, megabytes = getattr(module, "LIMITS", (SECONDS, MEGABYTES))
    # Far above the limit, so that greedy allocations fail before the machine suffers.
    allowed = _megabytes("VmSize") + 4 * megabytes << 20
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    for number in range(first, first + count):
        entry: dict[str, Any] = {"number": number, "label": "input"}
        print(json.dumps(entry), file=answers, flush=True)
        signal.alarm(seconds)  # ends the process, also inside native code
        trial = module.trial(random.Random(f"{seed}:{number}"), Path(folder))
        entry["label"] = trial.label[:200]
        print(json.dumps(entry), file=answers, flush=True)
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak
        before = _megabytes("VmRSS")
        outcome, text = _tried(trial)
        signal.alarm(0)
        entry["mb"] = _megabytes("VmHWM") - before
        if entry["mb"] > megabytes and outcome in GOOD:
            outcome, text = "memory", f"{entry['mb']} MB; {text}"
        print(json.dumps({**entry, "outcome": outcome, "text": text}), file=answers, flush=True)


def _tried(trial: Trial) -> tuple[str, str]:
    try:
        trial.run()
    except UserError as error:
        problems = getattr(error, "problems", [str(error)])  # of a configuration, all at once
        is_clear = all(
            "\n" not in text and len(text) < 1500 and any(name in text for name in trial.names)
            for text in problems
        )
        return ("clear" if is_clear else "unclear"), str(error)[:400]
    except MemoryError:
        return "memory", _place(sys.exc_info()[2])
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"[:300] + _place(error.__traceback__)
    return "fine", ""


def _place(where: Any) -> str:
    frames = traceback.extract_tb(where)
    own = [frame for frame in frames if "ppdet_lite" in Path(frame.filename).parts] or frames
    return f" at {Path(own[-1].filename).name}:{own[-1].lineno}"


def _megabytes(key: str) -> int:
    """A value of this process's memory: VmHWM (peak), VmRSS or VmSize."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) // 1024
