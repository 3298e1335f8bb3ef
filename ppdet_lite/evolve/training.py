"""Trials that are trainings, each a process of its own."""

from __future__ import annotations

import ctypes
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence

from ppdet_lite.evolve.genes import Gene, overrides_of
from ppdet_lite.evolve.search import Outcome
from ppdet_lite.utils.files import replacing

_COMMAND = "from ppdet_lite.commands.main import main; main()"
_SET_DEATH_SIGNAL = 1  # of prctl


@dataclass(frozen=True)
class TrainingObjective:
    """Trains a configuration with `ppdet train --eval`; the fitness is the best evaluation.

    Attributes:
        config: the file.
        overrides: as `-o` takes them, for all trials.
        folder: each trial writes to `trial_<number>` there.
        keep_weights: leave checkpoints in it.
    """

    config: Path
    overrides: Sequence[str]
    genes: Sequence[Gene]
    folder: Path
    keep_weights: bool = False

    def start(self, number: int, values: dict[str, float], device: str) -> TrainingTrial:
        """Goes on from the checkpoint of a trial that was killed, if that had the same values.
        `device` is the number of a GPU; "" leaves the choice to Paddle.
        """
        folder = self.folder / f"trial_{number:04d}"
        about = folder / "values.json"
        text = json.dumps({"values": values, "options": list(self.overrides)})
        if folder.exists() and not (about.exists() and about.read_text() == text):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(about) as file:
            file.write(text.encode())
        options = [*self.overrides, *overrides_of(self.genes, values), f"save_dir={folder}"]
        command = [sys.executable, "-c", _COMMAND, "train", "-c", str(self.config), "--eval"]
        environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": device} if device else {})}
        log = folder / "output.txt"
        with open(log, "wb") as stream:
            process = subprocess.Popen(
                [*command, "-r", "auto", "-o", *options],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        run = folder / self.config.stem
        return TrainingTrial(process, log, run, self.keep_weights)


class TrainingTrial:
    """A training process.

    Args:
        log: what it prints.
        run: folder of its checkpoints.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path, run: Path, keep_weights: bool):
        self.process, self.log, self.run, self.keep_weights = process, log, run, keep_weights

    def outcome(self) -> Optional[Outcome]:
        """See `Trial`."""
        code = self.process.poll()
        if code is None:
            return None
        try:
            return self._read(code)
        finally:
            if not self.keep_weights:
                for suffix in (".pdparams", ".pdopt", ".safetensors"):
                    for path in self.run.glob(f"*{suffix}"):
                        path.unlink()
                for path in self.run.glob("*.meta.json"):  # they would name missing files
                    path.unlink()

    def stop(self) -> None:
        """See `Trial`."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _read(self, code: int) -> Outcome:
        if code:
            return Outcome(None, self._reason(code))
        try:
            meta = json.loads((self.run / "best_model.meta.json").read_text(encoding="utf-8"))
            fitness = float(meta["best"]["value"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            return Outcome(None, f"no evaluation in {self.run} ({error})")
        if not math.isfinite(fitness):
            return Outcome(None, f"the evaluation gave {fitness}")
        return Outcome(fitness)

    def _reason(self, code: int) -> str:
        """The error that the log ends with."""
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("error:")]
        last = (errors or [line for line in lines if line.strip()] or ["nothing printed"])[-1]
        return f"exit code {code}: {last.removeprefix('error: ') if errors else last}"[:500]


def _die_with_parent() -> None:
    """Ends the process when the search is killed: its checkpoints are gone on from later."""
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
