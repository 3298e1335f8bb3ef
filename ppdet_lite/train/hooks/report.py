"""The page of a run, `index.html`, and the files that it is made from."""

import os
import time
from pathlib import Path
from typing import Mapping

from ppdet_lite.core.errors import UserError, require
from ppdet_lite.report.run_folder import facts_file
from ppdet_lite.report.run_page import write_run_page
from ppdet_lite.train.hooks.base import Hook, Run
from ppdet_lite.utils.files import write_json
from ppdet_lite.utils.logger import get_logger

_MOST_TIME = 0.02


class ReportHook(Hook):
    """Writes the page at the end, after Ctrl-C, and after an evaluation unless the pages would take
    more than 2 % of the time. Called after the checkpoints, so none depends on it: an error is
    logged and the run goes on. Only rank 0 writes.

    Args:
        folder: of the run.
        facts: name -> text, for the page.
    """

    def __init__(self, folder: str, facts: Mapping[str, str]):
        self.folder, self.facts = Path(folder), facts
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

    def after_epoch(self, run: Run) -> None:
        """Writes the page if the evaluation hook, called before, evaluated this epoch."""
        latest = run.state.last_evaluation
        is_evaluated = latest is not None and latest["epoch"] == run.state.epoch
        is_last = run.state.epoch + 1 == run.epochs
        seconds = time.monotonic() - self._started
        if is_evaluated and not is_last and self._spent <= _MOST_TIME * seconds:
            self._write()

    def after_train(self, run: Run) -> None:
        """Writes the page of the whole run."""
        self._write()

    def on_interrupt(self, run: Run) -> None:
        """Writes the page so far."""
        self._write()

    def _write(self) -> None:
        if not self._is_on:
            return
        started = time.monotonic()
        try:
            page = write_run_page(self.folder)
        except UserError as error:
            get_logger().error("The page of this run was not written: %s", error)
        except Exception:  # a defect of the page is no reason to lose a training
            get_logger().exception(
                "The page of this run was not written; after a repair `ppdet report %s` makes it",
                self.folder,
            )
        else:
            get_logger().info("Look at the run: %s", os.path.abspath(page))
        self._spent += time.monotonic() - started
