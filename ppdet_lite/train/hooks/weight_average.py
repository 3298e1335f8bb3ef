"""Moves the average of the weights after every step."""

from ppdet_lite.train.hooks.base import Hook, Run, StepRecord


class EMAHook(Hook):
    """Updates `state.ema` (a state without one is left alone)."""

    def after_step(self, run: Run, record: StepRecord) -> None:
        """One update per optimizer step."""
        run.state.update_ema()
