"""Progress on the terminal and in the log file, in the shape of PaddleDetection's lines."""

import datetime
import os
import statistics
import time
from collections import defaultdict, deque

import paddle
from tqdm import tqdm

from ppdet_lite.train.hooks.base import Hook, Run, StepRecord
from ppdet_lite.utils.cpu import core_count, peak_resident_bytes
from ppdet_lite.utils.logger import get_logger, progress_bar

_WAIT_SHARE = 0.2
_WAIT_STEPS = 18
_START_STEPS = 2  # of an epoch, where the workers have nothing ready yet


class LogHook(Hook):
    """Prints one line every `log_iter` steps, and once what to change when data comes too slowly.

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
        self._bar = tqdm(disable=True)  # of the epoch

    def before_epoch(self, run: Run) -> None:
        """Starts the clock and the bar of the epoch."""
        self._last_end, self._steps_of_epoch = time.perf_counter(), 0
        name = f"Epoch {run.state.epoch}"
        self._bar = progress_bar(run.steps_per_epoch, name, "step", run.state.step_in_epoch)

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
        self._bar.update(1)
        step = run.state.step_in_epoch
        if self._steps == 1 or step % self.log_iter == 0 or step == run.steps_per_epoch:
            get_logger().info(self._line(run, record))
            waiting, total = (sum(column) for column in zip(*self._costs or [(0.0, 0.0)]))
            if len(self._costs) >= _WAIT_STEPS and waiting > _WAIT_SHARE * total:
                if not self._warned:
                    text = "Waiting for data takes %.0f%% of the time; %s."
                    get_logger().warning(text, 100 * waiting / total, self._advice())
                self._warned = True

    def _line(self, run: Run, record: StepRecord) -> str:
        state, total = run.state, run.steps_per_epoch
        smooth = {key: statistics.median(values) for key, values in self._window.items()}
        batch_cost, data_cost = smooth.pop("batch_cost"), smooth.pop("data_cost")
        remaining = (run.epochs - state.epoch) * total - state.step_in_epoch
        eta = datetime.timedelta(seconds=int(remaining * self._seconds / self._steps))
        images = record.images * state.ranks.world_size
        losses = " ".join(f"{key}: {value:.6f}" for key, value in smooth.items())
        return (
            f"Epoch: [{state.epoch}] [{state.step_in_epoch:>{len(str(total))}}/{total}] "
            f"learning_rate: {record.learning_rate:.6g} {losses} eta: {eta} "
            f"batch_cost: {batch_cost:.4f} data_cost: {data_cost:.4f} "
            f"ips: {images / max(batch_cost, 1e-9):.4f} images/s max_mem: {_peak_memory_mb()} MB"
        )

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
        """Takes the bar away; `close` does so after an error."""
        self._bar.close()

    close = after_epoch


def _peak_memory_mb() -> int:
    if paddle.get_device().startswith("gpu"):
        return paddle.device.cuda.max_memory_allocated() // 2**20
    return (peak_resident_bytes() or 0) // 2**20
