"""The table of a run, `results.csv`."""

import os
import time

from ppdet_lite.core.errors import DataError
from ppdet_lite.report.results_csv import RESULTS_CSV, ResultsCsv, Values
from ppdet_lite.train.hooks.base import Hook, Run, StepRecord
from ppdet_lite.utils.logger import get_logger


class ResultsHook(Hook):
    """Writes a row every `log_iter` steps and at the end of an epoch: learning rate, losses, the
    seconds per step (`batch_cost`), of these the seconds of waiting for data (`data_cost`), and
    images per second of all processes; means over the steps since the last row. The metrics of an
    evaluation go into the last row of its epoch. A run that ends within an interval, after Ctrl-C
    or an error, gets a row of its last steps. Only rank 0 writes.
    """

    def __init__(self, folder: str, log_iter: int):
        self.path, self.log_iter = os.path.join(folder, RESULTS_CSV), log_iter
        self._table: ResultsCsv
        self._is_on = False
        self._sums: dict[str, float] = {}
        self._steps = self._images = 0
        self._last_end = self._learning_rate = 0.0

    def before_train(self, run: Run) -> None:
        """Opens the table; rows after the position of the run are trained again."""
        if run.state.ranks.rank == 0:
            try:
                self._table = ResultsCsv(self.path, run.state.iteration)
                self._is_on = True
            except DataError as error:
                self._tell(error)

    def before_epoch(self, run: Run) -> None:
        """Starts the clock of the epoch."""
        self._last_end = time.perf_counter()

    def after_step(self, run: Run, record: StepRecord) -> None:
        """Collects, and writes when it is time."""
        now = time.perf_counter()
        numbers = {
            **record.mean_losses(),
            "batch_cost": now - self._last_end,
            "data_cost": record.data_cost,
        }
        self._last_end = now
        for key, value in numbers.items():
            self._sums[key] = self._sums.get(key, 0.0) + value
        self._steps += 1
        self._images += record.images
        step = run.state.step_in_epoch
        self._learning_rate = record.learning_rate
        if step % self.log_iter == 0 or step == run.steps_per_epoch:
            self._write_means(run)

    def after_epoch(self, run: Run) -> None:
        """Adds the metrics if the evaluation hook, called before, evaluated this epoch. Its row is
        missing in a resumed run whose table was damaged: metrics alone make no row.
        """
        latest = run.state.last_evaluation
        if latest is None or latest["epoch"] != run.state.epoch or not self._is_on:
            return
        if self._table.iteration == run.state.iteration:
            self._write(run, latest["metrics"])

    def on_interrupt(self, run: Run) -> None:
        """Writes the row of the last steps."""
        self._write_means(run)

    on_error = on_interrupt

    def _write_means(self, run: Run) -> None:
        if self._steps:
            images = self._images * run.state.ranks.world_size
            speed = {"images_per_second": images / max(self._sums["batch_cost"], 1e-9)}
            means = {key: total / self._steps for key, total in self._sums.items()}
            self._write(run, {"learning_rate": self._learning_rate, **means, **speed})
            self._sums, self._steps, self._images = {}, 0, 0

    def _write(self, run: Run, values: Values) -> None:
        if self._is_on:
            position = {"epoch": run.state.epoch, "iteration": run.state.iteration}
            try:
                self._table.write({**position, **values})
            except DataError as error:
                self._is_on = False
                self._tell(error)

    def _tell(self, error: DataError) -> None:
        get_logger().error("The run goes on without further rows in its table: %s", error)
