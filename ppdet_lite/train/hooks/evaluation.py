"""Evaluates at snapshots and remembers the best result."""

import math
from dataclasses import dataclass

from ppdet_lite.evaluate.evaluator import Evaluator
from ppdet_lite.train.hooks.base import Hook, Run, is_snapshot
from ppdet_lite.utils.logger import get_logger


@dataclass
class EvalHook(Hook):
    """Runs an evaluator on the weights for use (averaged with EMA) after every `snapshot_epoch`
    epochs and after the last; the larger its `primary`, the better the model.
    """

    evaluator: Evaluator
    snapshot_epoch: int

    def after_epoch(self, run: Run) -> None:
        """Evaluates; notes the metrics and, if it is one, the new best in the state."""
        state = run.state
        if not is_snapshot(run, self.snapshot_epoch):
            return
        with state.evaluation_weights() as model:
            metrics = self.evaluator.run(model)
        name, value = self.evaluator.primary
        numbers = {key: float(number) for key, number in metrics.items()}
        state.last_evaluation = {"epoch": state.epoch, "metrics": numbers}
        # Part of the checkpoint: a resumed run must not take its first evaluation for the best one.
        is_better = state.best is None or value > state.best["value"]
        if is_better and math.isfinite(value):
            state.best = {"name": name, "value": float(value)}
            state.best.update(epoch=state.epoch, iteration=state.iteration)
        if state.best is not None:
            best = f"{name} {value:.4f} after epoch {state.epoch}; best {state.best['value']:.4f}"
            get_logger().info("%s (epoch %d)", best, state.best["epoch"])
