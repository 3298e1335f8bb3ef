"""Moves the average of the weights after every step."""

from ppdet_lite.train.hooks.base import Hook


class EMAHook(Hook):
    """Updates `state.ema` (a state without one is left alone)."""

    def after_step(self, trainer, record) -> None:
        """One update per optimizer step."""
        trainer.state.update_ema()
