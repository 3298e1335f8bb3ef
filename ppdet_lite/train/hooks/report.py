"""The page of a run, `index.html`, and the files that it is made from."""

import os
import time
from pathlib import Path
from typing import Callable, Mapping, Optional

from ppdet_lite.core.errors import UserError, require
from ppdet_lite.evaluate.evaluator import Evaluator
from ppdet_lite.report.run_folder import batches_folder, facts_file
from ppdet_lite.report.run_page import write_run_page
from ppdet_lite.train.hooks.base import Hook, Run, StepRecord
from ppdet_lite.train.hooks.batch_images import BatchImages
from ppdet_lite.utils.files import write_json
from ppdet_lite.utils.logger import get_logger

_MOST_TIME = 0.02


class ReportHook(Hook):
    """Writes the page at the end, also after Ctrl-C or an error, and after an evaluation unless the
    pages would take more than 2 % of the time. Called after the checkpoints, so none depends on it:
    an error of its own is logged and the run goes on. Only rank 0 writes.

    Args:
        folder: of the run.
        facts: name -> text, for the page.
        evaluator: the one of the run, whose detections the page shows.
        batches: draws the first training images.
    """

    def __init__(
        self,
        folder: str,
        facts: Mapping[str, str],
        evaluator: Optional[Evaluator] = None,
        batches: Optional[BatchImages] = None,
    ):
        self.folder, self.facts, self.evaluator = Path(folder), facts, evaluator
        self.batches = batches
        self._is_on = False
        self._started, self._spent = time.monotonic(), 0.0

    def before_train(self, run: Run) -> None:
        """Writes down the facts, and says in a line which package is missing."""
        self._is_on = run.state.ranks.rank == 0
        if not self._is_on:
            return
        self._started = time.monotonic()
        try:
            for package in ("matplotlib", "jinja2"):
                require(package, "index.html, the page of this run,", "report")
            write_json(facts_file(self.folder), dict(self.facts))
        except UserError as error:
            self._is_on = False
            get_logger().warning("No page of this run: %s", error)

    def after_step(self, run: Run, record: StepRecord) -> None:
        """Draws training images at the first steps of the run."""
        if self._is_on and self.batches is not None and self.batches.wanted(run.state.iteration):
            batches = self.batches
            self._try(lambda: batches.draw(batches_folder(self.folder), record.batches))

    def after_epoch(self, run: Run) -> None:
        """Writes the page if the evaluation hook, called before, evaluated this epoch."""
        latest = run.state.last_evaluation
        is_evaluated = latest is not None and latest["epoch"] == run.state.epoch
        if not is_evaluated or self.evaluator is None or not self._is_on:
            return
        started = time.monotonic()
        self._try(self._save_evaluation)
        self._spent += time.monotonic() - started
        is_last = run.state.epoch + 1 == run.epochs
        if not is_last and self._spent <= _MOST_TIME * (time.monotonic() - self._started):
            self._write()

    def after_train(self, run: Run) -> None:
        """Writes the page of the whole run."""
        self._write()

    def on_interrupt(self, run: Run) -> None:
        """Writes the page so far."""
        self._write()

    def on_error(self, run: Run) -> None:
        """Writes the page so far: its curves show what led to the error."""
        self._write()

    def _save_evaluation(self) -> None:
        if self.evaluator is not None:
            self.evaluator.save_files(str(facts_file(self.folder).parent))

    def _write(self) -> None:
        started = time.monotonic()
        if self._is_on and (page := self._try(lambda: write_run_page(self.folder))):
            get_logger().info("Look at the run: %s", os.path.abspath(page))
        self._spent += time.monotonic() - started

    def _try(self, work: Callable[[], Optional[Path]]) -> Optional[Path]:
        """The result of `work`; None after an error, which is logged."""
        try:
            return work()
        except UserError as error:
            get_logger().error("The run goes on without its page: %s", error)
        except Exception:  # a defect of the page is no reason to lose a training
            text = "The run goes on without its page; `ppdet report %s` makes it later"
            get_logger().exception(text, self.folder)
        return None
