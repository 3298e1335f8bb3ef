"""Tells layers that change in the course of a training how far it is."""

from ppdet_lite.train.hooks.base import Hook, Run, StepRecord


class LayerProgressHook(Hook):
    """Sets `progress`, the done share of all steps, in the layers that have it."""

    def before_epoch(self, run: Run) -> None:
        self._set(run)

    def after_step(self, run: Run, record: StepRecord) -> None:
        self._set(run)

    def _set(self, run: Run) -> None:
        done = run.state.iteration / max(1, run.epochs * run.steps_per_epoch)
        for layer in run.state.model.sublayers():
            if hasattr(layer, "progress"):
                layer.progress = min(1.0, done)
