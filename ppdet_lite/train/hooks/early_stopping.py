"""Ends a training that no longer becomes better."""

from dataclasses import dataclass

from ppdet_lite.train.hooks.base import Hook, Run
from ppdet_lite.utils.logger import get_logger


@dataclass
class EarlyStoppingHook(Hook):
    """Ends the run after the first evaluation that comes `patience` or more epochs after the best.

    The position, the best and the last result are all it depends on, so a resumed run ends where
    the uninterrupted one does. An evaluation without labels, which measures nothing, ends no run.
    """

    patience: int

    def before_train(self, run: Run) -> None:
        """Ends a resumed run that had ended already, unless `patience` was raised."""
        if run.state.step_in_epoch == 0:
            self._look(run, run.state.epoch - 1)

    def after_epoch(self, run: Run) -> None:
        """The evaluation hook, called before, notes its result in the state."""
        self._look(run, run.state.epoch)

    def _look(self, run: Run, epoch: int) -> None:
        best, latest = run.state.best, run.state.last_evaluation
        if best is None or latest is None or latest["epoch"] != epoch:
            return
        if epoch - best["epoch"] < self.patience:
            return
        if not latest["metrics"].get(best["name"], 0.0) >= 0:  # -1 or NaN: no label to find
            return
        run.ends_early = True
        if epoch + 1 < run.epochs:
            get_logger().info(
                "Early stopping: no better %s than %.4f of epoch %d in %d epochs (patience %d); "
                "the run ends after epoch %d. To go on, raise patience and resume (-r auto).",
                *(best["name"], best["value"], best["epoch"], epoch - best["epoch"]),
                *(self.patience, epoch),
            )
