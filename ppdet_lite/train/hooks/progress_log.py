"""Progress on the terminal and in the log file."""

from __future__ import annotations

import datetime
import os
import statistics
import time
from collections import defaultdict, deque

from tqdm import tqdm

from ppdet_lite.train.hooks.base import Hook, Run, StepRecord
from ppdet_lite.train.hooks.progress_text import Progress, epoch_bar
from ppdet_lite.utils.cpu import core_count
from ppdet_lite.utils.logger import COLUMNS, PREFIX, get_logger, log_in_full

_WAIT_SHARE = 0.2
_WAIT_STEPS = 18
_START_STEPS = 2  # of an epoch, where the workers have nothing ready yet


class LogHook(Hook):
    """Shows the progress, and says once what to change when data comes too slowly.

    The log file gets a line every `log_iter` steps in the shape of PaddleDetection's. On a terminal
    a bar stands in its place, and its last state stays as the line of the epoch; elsewhere the
    terminal's stream gets a line of at most `COLUMNS` columns.

    Losses and costs are medians over the last `log_iter` steps; `batch_cost` is the time from step
    to step in seconds, `data_cost` the part of it spent waiting for the reader, `ips` counts the
    images of all processes, `eta` leaves evaluations out, `max_mem` is the highest use so far (GPU
    memory, or memory of this process on a CPU).
    """

    def __init__(self, log_iter: int, workers: int, cached: bool):
        self.log_iter, self.workers, self.cached = log_iter, workers, cached
        self._window: dict[str, deque] = defaultdict(lambda: deque(maxlen=self.log_iter))
        self._costs: deque = deque(maxlen=max(_WAIT_STEPS, self.log_iter))
        self._last_end = self._seconds = 0.0
        self._steps = self._steps_of_epoch = 0
        self._warned = False
        self._bar, self._room = tqdm(disable=True), 0  # of the epoch; columns behind it

    def before_epoch(self, run: Run) -> None:
        """Starts the clock and the bar of the epoch."""
        self._last_end, self._steps_of_epoch = time.perf_counter(), 0
        name = f"epoch {run.state.epoch + 1}/{run.epochs}"  # from 1, so that the last is n/n
        self._bar, self._room = epoch_bar(name, run.steps_per_epoch, run.state.step_in_epoch)

    def after_step(self, run: Run, record: StepRecord) -> None:
        """Collects, and prints when it is time."""
        now = time.perf_counter()
        cost, self._last_end = now - self._last_end, now
        self._seconds += cost
        self._steps += 1
        self._steps_of_epoch += 1
        numbers = {**record.mean_losses(), "batch_cost": cost, "data_cost": record.data_cost}
        for key, value in numbers.items():
            self._window[key].append(value)
        if self._steps_of_epoch > _START_STEPS:
            self._costs.append((record.data_cost, cost))
        step = run.state.step_in_epoch
        is_due = self._steps == 1 or step % self.log_iter == 0 or step == run.steps_per_epoch
        if not is_due and self._bar.disable:
            return
        progress = self._progress(run, record)
        if not self._bar.disable:
            self._bar.set_description_str(progress.text(self._room), refresh=False)
            self._bar.update(1)
        if is_due:
            short = progress.short_line(COLUMNS - PREFIX) if self._bar.disable else ""
            log_in_full(progress.line(), short)
            self._warn_of_waiting()

    def _warn_of_waiting(self) -> None:
        waiting, total = (sum(column) for column in zip(*self._costs or [(0.0, 0.0)]))
        if len(self._costs) >= _WAIT_STEPS and waiting > _WAIT_SHARE * total:
            if not self._warned:
                text = "Waiting for data takes %.0f%% of the time; %s."
                get_logger().warning(text, 100 * waiting / total, self._advice())
            self._warned = True

    def _progress(self, run: Run, record: StepRecord) -> Progress:
        state, total = run.state, run.steps_per_epoch
        losses = {key: statistics.median(values) for key, values in self._window.items()}
        costs = losses.pop("batch_cost"), losses.pop("data_cost")
        remaining = (run.epochs - state.epoch) * total - state.step_in_epoch
        eta = datetime.timedelta(seconds=int(remaining * self._seconds / self._steps))
        images = record.images * state.ranks.world_size
        place = state.epoch, state.step_in_epoch, total
        return Progress(*place, record.learning_rate, losses, *costs, images, eta)

    def _advice(self) -> str:
        """Changes that make the reader faster, the first to try first."""
        cores = core_count()
        processes = int(os.environ.get("PADDLE_LOCAL_SIZE", 1) or 1)  # of this machine
        share = f" for {processes} processes" if processes > 1 else ""
        if self.workers < cores // processes:
            advice = f"raise worker_num (now {self.workers}, this machine has {cores} cores{share})"
        else:
            advice = f"worker_num is {self.workers} on {cores} cores{share} already"
        if not self.cached:
            advice += "; keep the images in memory or on a fast disk with TrainReader.cache"
        return (
            f"{advice}; where steps are very short a larger TrainReader.batch_size helps; "
            "tools/benchmark_reader.py shows where the time goes (docs/reader.md)"
        )

    def after_epoch(self, run: Run) -> None:
        """Leaves the last state of the bar; `close` does so after an error."""
        self._bar.close()

    close = after_epoch
