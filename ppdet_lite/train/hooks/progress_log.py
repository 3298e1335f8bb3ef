"""Progress on the terminal and in the log file, in the shape of PaddleDetection's lines."""

import datetime
import os
import statistics
import sys
import time
from collections import defaultdict, deque

import paddle

from ppdet_lite.train.hooks.base import Hook
from ppdet_lite.utils.cpu import core_count
from ppdet_lite.utils.logger import get_logger, progress_bar

_WAIT_SHARE = 0.2
_WAIT_STEPS = 18
_START_STEPS = 2  # of an epoch, where the workers have nothing ready yet


class LogHook(Hook):
    """Prints one line every `log_iter` steps.

    Losses and costs are medians over the last `log_iter` steps; `batch_cost` is the time from step
    to step in seconds, `data_cost` the part of it spent waiting for the reader, `ips` counts the
    images of all processes, `eta` leaves evaluations out, `max_mem` is the highest use so far (GPU
    memory, or memory of this process on a CPU).

    Args:
        log_iter: steps between lines.
    """

    def __init__(self, log_iter: int = 20):
        self.log_iter = max(1, log_iter)
        self._window = defaultdict(lambda: deque(maxlen=self.log_iter))
        self._costs = deque(maxlen=max(_WAIT_STEPS, self.log_iter))
        self._last_end = None
        self._seconds = self._steps = self._steps_of_epoch = 0
        self._warned = False
        self._bar = None

    def before_epoch(self, trainer) -> None:
        """Starts the clock and the bar of the epoch."""
        self._last_end = time.perf_counter()
        self._steps_of_epoch = 0
        state = trainer.state
        self._close_bar()
        self._bar = progress_bar(
            trainer.steps_per_epoch, f"Epoch {state.epoch}", "step", state.step_in_epoch
        )

    def after_step(self, trainer, record) -> None:
        """Collects, and prints when it is time."""
        now = time.perf_counter()
        cost, self._last_end = now - self._last_end, now
        self._seconds += cost
        self._steps += 1
        self._steps_of_epoch += 1
        for key, value in record.mean_losses().items():
            self._window[key].append(value)
        self._window["batch_cost"].append(cost)
        self._window["data_cost"].append(record.data_cost)
        if self._steps_of_epoch > _START_STEPS:
            self._costs.append((record.data_cost, cost))
        self._bar.update(1)
        step = trainer.state.step_in_epoch
        if self._steps == 1 or step % self.log_iter == 0 or step == trainer.steps_per_epoch:
            get_logger().info(self._line(trainer, record))
            self._check_waiting(trainer)

    def _line(self, trainer, record) -> str:
        state, total = trainer.state, trainer.steps_per_epoch
        smooth = {key: statistics.median(values) for key, values in self._window.items()}
        batch_cost, data_cost = smooth.pop("batch_cost"), smooth.pop("data_cost")
        remaining = trainer.epochs * total - (state.epoch * total + state.step_in_epoch)
        eta = datetime.timedelta(seconds=int(remaining * self._seconds / self._steps))
        images = record.images * state.ranks.world_size
        losses = " ".join(f"{key}: {value:.6f}" for key, value in smooth.items())
        width = len(str(total))
        return (
            f"Epoch: [{state.epoch}] [{state.step_in_epoch:>{width}}/{total}] "
            f"learning_rate: {record.learning_rate:.6g} {losses} eta: {eta} "
            f"batch_cost: {batch_cost:.4f} data_cost: {data_cost:.4f} "
            f"ips: {images / max(batch_cost, 1e-9):.4f} images/s max_mem: {_peak_memory_mb()} MB"
        )

    def _check_waiting(self, trainer) -> None:
        """Says once when the reader cannot keep up, and what to change."""
        if self._warned or len(self._costs) < _WAIT_STEPS:
            return
        waiting, total = (sum(column) for column in zip(*self._costs))
        if waiting <= _WAIT_SHARE * total:
            return
        self._warned = True
        get_logger().warning(
            "Waiting for data takes %.0f%% of the time; %s.",
            100 * waiting / total,
            _advice(trainer),
        )

    def after_epoch(self, trainer) -> None:
        """Takes the bar away."""
        self._close_bar()

    def close(self, trainer) -> None:
        """Takes the bar away, also after an error."""
        self._close_bar()

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _advice(trainer) -> str:
    """What makes the reader faster, the first thing to try first."""
    workers = getattr(trainer.reader, "worker_num", 0)
    cores = core_count()
    processes = int(os.environ.get("PADDLE_LOCAL_SIZE", 1) or 1)  # of this machine, by the launcher
    share = f" for {processes} processes" if processes > 1 else ""
    advice = []
    if workers < cores // processes:
        advice.append(f"raise -o worker_num (now {workers}, this machine has {cores} cores{share})")
    else:
        advice.append(f"worker_num is {workers} on {cores} cores{share} already")
    if getattr(trainer.reader, "cache", None) is None:
        advice.append("keep the images in memory or on a fast disk with TrainReader.cache")
    return (
        "; ".join(advice) + "; where steps are very short a larger TrainReader.batch_size helps; "
        "tools/benchmark_reader.py shows where the time goes (docs/reader.md)"
    )


def _peak_memory_mb() -> int:
    if paddle.is_compiled_with_cuda() and paddle.get_device().startswith("gpu"):
        return paddle.device.cuda.max_memory_allocated() // 2**20
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)
