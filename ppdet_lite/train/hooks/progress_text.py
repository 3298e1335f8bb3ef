"""The numbers of a step as text: PaddleDetection's line, its short form, the bar of an epoch."""

from __future__ import annotations

import datetime
import os
import sys
from typing import Any, NamedTuple

import paddle
from tqdm import tqdm

from ppdet_lite.utils.cpu import peak_resident_bytes
from ppdet_lite.utils.logger import COLUMNS, process_rank

_BAR, _SMALLEST_BAR = 16, 4
_LOSS = len("loss 1.23e-07")  # for which the bar makes room


class Progress(NamedTuple):
    """One moment of a training.

    Attributes:
        losses: terms and their sum `loss`.
        batch_cost, data_cost: seconds of a step, and of waiting for its data.
        images: of a step of all processes.
    """

    epoch: int
    step: int
    steps: int
    learning_rate: float
    losses: dict[str, float]
    batch_cost: float
    data_cost: float
    images: int
    eta: datetime.timedelta

    @property
    def images_per_second(self) -> float:
        return self.images / max(self.batch_cost, 1e-9)

    def line(self) -> str:
        """All numbers, in the shape of PaddleDetection's lines."""
        losses = " ".join(f"{key}: {value:.6f}" for key, value in self.losses.items())
        return (
            f"Epoch: [{self.epoch}] [{self.step:>{len(str(self.steps))}}/{self.steps}] "
            f"learning_rate: {self.learning_rate:.6g} {losses} eta: {self.eta} "
            f"batch_cost: {self.batch_cost:.4f} data_cost: {self.data_cost:.4f} "
            f"ips: {self.images_per_second:.4f} images/s max_mem: {_peak_memory_mb()} MB"
        )

    def short_line(self, columns: int) -> str:
        """The beginning of `line`, which scripts look for, and the rest as far as it fits."""
        start = (
            f"Epoch: [{self.epoch}] [{self.step:>{len(str(self.steps))}}/{self.steps}] "
            f"learning_rate: {three_digits(self.learning_rate)} loss: {self._total()}"
        )
        rest = [f"ips: {three_digits(self.images_per_second)}", f"eta: {self.eta}"]
        return self._with_terms(start, rest, " ", columns)

    def text(self, columns: int) -> str:
        """Loss, rate, speed and time left for a place behind a bar; "" where not even the loss
        fits: a number without its end is a wrong number.
        """
        rest = [
            f"lr {three_digits(self.learning_rate)}",
            f"{three_digits(self.images_per_second)} img/s",
            f"eta {self.eta}",
        ]
        text = self._with_terms(f"loss {self._total()}", rest, "  ", columns)
        return text if len(text) <= columns else ""

    def _total(self) -> str:
        return three_digits(self.losses.get("loss", 0.0))

    def _with_terms(self, start: str, rest: list[str], gap: str, columns: int) -> str:
        """`start`, the largest terms of the loss as far as they fit into `columns`, and `rest`, of
        which the first parts go where not even they fit.
        """
        terms = {key: value for key, value in self.losses.items() if key != "loss"}
        shown: list[str] = []
        for key in sorted(terms, key=lambda key: -abs(terms[key])):
            wider = [k for k in terms if k in (*shown, key)]  # in their own order
            if len(gap.join([start + _bracketed(wider, terms), *rest])) > columns:
                break
            shown = wider
        while not shown and rest and len(gap.join([start, *rest])) > columns:
            rest = rest[1:]
        return gap.join([start + _bracketed(shown, terms), *rest])


def _bracketed(keys: list[str], terms: dict[str, float]) -> str:
    listed = [f"{key.replace('loss_', '')} {three_digits(terms[key])}" for key in keys]
    return f" ({', '.join(listed)})" if listed else ""


def three_digits(value: float) -> str:
    """A number with three significant digits, all of those before its point."""
    if abs(value) >= 999.5:
        return f"{value:.0f}"
    text = f"{value:#.3g}"
    return text if "e" in text else text.rstrip(".")


def epoch_bar(name: str, steps: int, done: int) -> tuple[tqdm[Any], int]:
    """A bar of at most `COLUMNS` columns whose last state stays on the terminal, and the columns
    left for the text behind it; switched off where standard error is no terminal, or the rank is
    not 0. On a narrow terminal the bar is shorter, or left out.
    """
    hidden = process_rank() != 0 or not sys.stderr.isatty()
    # Some containers' terminals say that they have 0 columns.
    width = 0 if hidden else os.get_terminal_size(sys.stderr.fileno()).columns
    columns = min(COLUMNS, width or COLUMNS) - 1
    room = columns - len(f"{name} 100%  ")
    size = min(_BAR, room - _LOSS - 1)
    bar = f"{{bar:{size}}} " if size >= _SMALLEST_BAR else ""
    shown = tqdm(
        total=steps,
        initial=done,
        disable=hidden,
        ncols=columns,
        bar_format=f"{name} {bar}{{percentage:3.0f}}%  {{desc}}",
        file=sys.stderr,
    )
    return shown, room - (size + 1 if bar else 0)


def _peak_memory_mb() -> int:
    if paddle.get_device().startswith("gpu"):
        return paddle.device.cuda.max_memory_allocated() // 2**20
    return (peak_resident_bytes() or 0) // 2**20
