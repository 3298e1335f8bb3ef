"""The result of a quantization as text and for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ppdet_lite.benchmark.protocol import Summary
from ppdet_lite.benchmark.tables import aligned_table
from ppdet_lite.quantize.quantizer import Written

_SHOWN = ("AP", "AP50", "AP75", "mAP")
"""Numbers of the metrics that the table shows, where they are there."""


@dataclass
class Result:
    """A network in one precision.

    Attributes:
        times_ms: of whole runs of the graph on one image, round by round; empty where this machine
            cannot tell, for an engine on GPUs.
        metrics: on the labeled images, 0 to 1 by name; None where there are none.
    """

    precision: str
    bytes: int
    times_ms: list[float]
    metrics: Optional[dict[str, float]] = None


@dataclass
class QuantizeReport:
    """A quantized network beside the one in float32, in the same engine.

    Attributes:
        machine: facts about it by name.
        input_hw: height and width of the network's input.
    """

    folder: Path
    engine: str
    written: Written
    calibration: str
    machine: dict[str, str]
    input_hw: tuple[int, int]
    float32: Result
    int8: Result

    @property
    def speed_up(self) -> Optional[float]:
        """Times as fast as float32; fastest rounds, as other work only makes rounds slower. None
        where nothing was timed."""
        if not self.int8.times_ms:
            return None
        return min(self.float32.times_ms) / min(self.int8.times_ms)

    def lost(self) -> dict[str, float]:
        """What the metrics lost, 0 to 1; empty without labeled images."""
        before, after = self.float32.metrics, self.int8.metrics
        if before is None or after is None:
            return {}
        return {key: before[key] - after[key] for key in before if _title(key) in _SHOWN}

    def text(self) -> str:
        """The report for a terminal."""
        keys, is_timed = list(self.lost()), self.speed_up is not None
        header = ["precision", *["ms (p5-p95)", "fastest ms", "speed"] * is_timed, "MB"]
        header += [_title(key) for key in keys]
        rows = []
        for result in (self.float32, self.int8):
            row = [result.precision, *(self._speed(result) if is_timed else [])]
            row.append(f"{result.bytes / 2**20:.1f}")
            row += [f"{100 * (result.metrics or {})[key]:.2f}" for key in keys]
            rows.append(row)
        height, width = self.input_hw
        left = len(self.written.float32_layers)
        size = f"one image of {height} x {width} (height x width) to boxes"
        rounds = f", {len(self.int8.times_ms)} rounds in turns" if is_timed else ""
        lines = [
            f"{self.folder}: {self.engine}, {self.written.library}, {self.calibration}",
            ", ".join(f"{key} {value}" for key, value in self.machine.items()),
            f"{size}{rounds}; convolutions: {self.written.int8_layers} INT8, {left} float32",
            *aligned_table(header, rows),
        ]
        loss = ", ".join(f"{100 * drop:+.2f} {_title(key)}" for key, drop in self.lost().items())
        lines.append(
            (
                f"INT8 is {self.speed_up:.2f} times as fast as float32; "
                if is_timed
                else "its speed is that of a GPU (ppdet benchmark), its roundings were computed "
                "on the CPU; "
            )
            + (f"lost: {loss} (points)" if loss else "AP was not measured (verify_dataset)")
        )
        return "\n".join(lines)

    def _speed(self, result: Result) -> list[str]:
        """The cells of a row about time."""
        summary, best = Summary.of(result.times_ms), min(result.times_ms)
        median = f"{summary.median:.1f} ({summary.p5:.1f}-{summary.p95:.1f})"
        return [median, f"{best:.1f}", f"{min(self.float32.times_ms) / best:.2f}"]

    def as_dict(self) -> dict[str, Any]:
        """Everything measured."""
        results = {r.precision: vars(r) for r in (self.float32, self.int8)}
        return {
            "folder": str(self.folder),
            "engine": self.engine,
            "calibration": self.calibration,
            **self.written.content(),
            "machine": self.machine,
            "input_hw": list(self.input_hw),
            "results": results,
            "speed_up": self.speed_up,
            "lost": self.lost(),
        }


def _title(key: str) -> str:
    return key.rpartition("/")[2]
