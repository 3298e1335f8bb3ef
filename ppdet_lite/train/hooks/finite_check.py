"""Stops a run whose numbers are no longer finite, before the weights are touched."""

import math
from typing import NoReturn, Optional

import numpy as np
import paddle

from ppdet_lite.core.errors import TrainingError
from ppdet_lite.train.hooks.base import Hook, Run, StepRecord
from ppdet_lite.train.hooks.saving import CheckpointWriter

_FILES_SHOWN = 16
_SCALE_CHECK_STEPS = 100
_SMALLEST_SCALE = 2.0**-10  # the scale of a healthy run stays above it


class FiniteCheckHook(Hook):
    """Raises `TrainingError` for a loss or a gradient that is not finite.

    With a loss scale (float16) single gradients may overflow: the scaler leaves such a step out,
    and only a scale that keeps falling is an error.

    Args:
        writer: of the run's checkpoints; the message names the newest.
    """

    def __init__(self, writer: Optional[CheckpointWriter] = None):
        self.writer = writer

    def before_update(self, run: Run, record: StepRecord) -> None:
        """Checks the step's losses, then its gradients."""
        for losses, batch in zip(record.losses, record.batches):
            bad = [f"{key} {value}" for key, value in losses.items() if not math.isfinite(value)]
            if bad:
                self._stop(run, f"the loss is not finite: {', '.join(bad)}", record, [batch])
        if run.state.precision.scaler is None:
            parameters = run.state.model.named_parameters()
            grads = {key: p.grad for key, p in parameters if p.grad is not None}
            norms = [grad.astype("float32").norm().reshape([]) for grad in grads.values()]
            finite = np.isfinite(paddle.stack(norms).numpy()) if norms else []
            if bad := [key for key, is_finite in zip(grads, finite) if not is_finite]:
                more = f" (and of {len(bad) - 1} more parameters)" if len(bad) > 1 else ""
                what = f"the gradient of {bad[0]} is not finite{more}"
                self._stop(run, what, record, record.batches)
        elif run.state.iteration % _SCALE_CHECK_STEPS == 0:
            scale = float(run.state.precision.state_dict()["scale"][0])
            if scale < _SMALLEST_SCALE:
                what = f"the gradients overflow float16 in step after step (loss scale {scale:g})"
                self._stop(run, what, record, record.batches)

    def _stop(self, run: Run, what: str, record: StepRecord, batches: list[dict]) -> NoReturn:
        state = run.state
        files = [str(name) for batch in batches for name in batch.get("im_file", [])]
        shown = "\n  ".join(files[:_FILES_SHOWN]) or "(the reader does not say)"
        more = f"\n  and {len(files) - _FILES_SHOWN} more" if len(files) > _FILES_SHOWN else ""
        process = f", process {state.ranks.rank}" if state.ranks.world_size > 1 else ""
        newest = self.writer.newest_whole() if self.writer else None
        saved = f"the checkpoint {newest} is good" if newest else "this run has no checkpoint yet"
        raise TrainingError(
            f"Stopped: {what}, at iteration {state.iteration} (epoch {state.epoch}, step "
            f"{state.step_in_epoch}, learning rate {record.learning_rate:g}{process}). Images of "
            f"the batch:\n  {shown}{more}\n"
            f"The weights of this step were not saved; {saved}. Usual reasons: a learning "
            f"rate too high for the batch (see the learning rate line above), boxes of "
            f"extreme size in one of these images, or mixed precision (try amp=false)."
        )
