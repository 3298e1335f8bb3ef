"""All that a run is: the object that trainer and hooks share and that a checkpoint stores."""

import contextlib
from dataclasses import dataclass, field
from typing import Annotated, Any, Iterator, Mapping, Optional

import paddle
from paddle import distributed, nn
from paddle.optimizer.lr import LRScheduler

from ppdet_lite.core.annotations import Count, Rule, describe, matches
from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.device.ranks import SINGLE_PROCESS, Ranks
from ppdet_lite.train.ema import ModelEMA
from ppdet_lite.train.mixed_precision import Precision
from ppdet_lite.train.optimizer import misfit, optimizer_state, restore_optimizer_state
from ppdet_lite.train.schedule_pass import SchedulePass

_PROGRESS = ("epoch", "step_in_epoch", "iteration", "best", "last_evaluation", "seed")

_MISSING = object()
_Number = Annotated[int, Rule(lambda number: 0 <= number < 2**62, "0 or more")]
_Metrics = Annotated[
    dict, Rule(lambda found: all(isinstance(v, (int, float)) for v in found.values()), "numbers")
]
_SAVED: dict[str, Any] = {
    "model": dict,
    "optimizer": dict,
    "ema": Optional[dict],
    "ema.step": _Number,
    "ema.shadow": dict,
    "scaler": dict,
    "progress": dict,
    **{f"progress.{key}": _Number for key in ("epoch", "step_in_epoch", "iteration", "seed")},
    "progress.schedule": Optional[dict],
    "progress.schedule.curve_epochs": Count,
    "progress.schedule.start": _Number,
    "progress.schedule.end": Count,
    "progress.batch_setting": dict,
    "progress.batch_setting.steps_per_epoch": Count,
    "progress.best": Optional[dict],
    "progress.best.value": float,
    "progress.best.epoch": _Number,
    "progress.best.iteration": _Number,
    "progress.last_evaluation": Optional[dict],
    "progress.last_evaluation.epoch": _Number,
    "progress.last_evaluation.metrics": _Metrics,
}
"""Dotted key of `TrainState.state_dict` -> type of its value."""
_ADDED = frozenset({"schedule"})  # not yet in checkpoints of earlier versions


def check_saved(state: dict, source: str) -> None:
    """A CheckpointError for a state whose parts are missing or not what `state_dict` writes."""
    for key, annotation in _SAVED.items():
        value: Any = state
        for part in key.split("."):
            if value is None:  # an optional part
                break
            missing = None if part in _ADDED else _MISSING
            value = value.get(part, missing) if isinstance(value, dict) else _MISSING
        else:
            if not matches(value, annotation):
                found = "nothing" if value is _MISSING else repr(value)[:60]
                allowed = describe(annotation)
                raise CheckpointError(f"{source}: {key}: found {found}, allowed: {allowed}")


@dataclass(eq=False)
class TrainState:
    """Model, optimizer, average, loss scale and position of a run.

    Attributes:
        model: the bare model (not wrapped for several processes).
        scheduler: learning rate, stepped once per optimizer step.
        batch_setting: what the order of the samples depends on (`steps_per_epoch` among it),
            compared on resume.
        epoch, step_in_epoch: position; step_in_epoch counts the finished steps of `epoch`.
        iteration: optimizer steps done since the start.
        best: `{"name", "value", "epoch", "iteration"}` of the best evaluation so far, or None.
        last_evaluation: `{"epoch", "metrics", "thresholds"}` of the latest one, or None; thresholds
            by class index, on rank 0 only.
        schedule: the pass of the learning rate's schedule, which a longer run goes on from.
    """

    model: nn.Layer
    optimizer: paddle.optimizer.Optimizer
    scheduler: LRScheduler
    seed: int
    batch_setting: Mapping[str, int]
    ema: Optional[ModelEMA] = None
    precision: Precision = field(default_factory=Precision)
    ranks: Ranks = SINGLE_PROCESS
    epoch: int = 0
    step_in_epoch: int = 0
    iteration: int = 0
    best: Optional[dict] = None
    last_evaluation: Optional[dict] = None
    schedule: Optional[SchedulePass] = None

    def update_ema(self) -> None:
        """Moves the average after an optimizer step."""
        if self.ema is not None:
            self.ema.update(self.model, self._master_weights())

    def _master_weights(self) -> dict:
        if not self.precision.half_weights:
            return {}
        masters = self.optimizer.state_dict().get("master_weights") or {}
        return {
            key: masters[parameter.name]
            for key, parameter in self.model.named_parameters()
            if parameter.name in masters
        }

    def weights_for_use(self) -> dict:
        """Key -> float32 tensor that evaluation and `.pdparams` use: averaged when EMA is on."""
        if self.ema is not None:
            return self.ema.averaged(self.model)
        masters = self._master_weights()
        return {
            key: masters.get(key, value).astype("float32")
            for key, value in self.model.state_dict().items()
        }

    @contextlib.contextmanager
    def evaluation_weights(self) -> Iterator[nn.Layer]:
        """Context in which the model holds the weights for use, and `Precision.evaluation`.

        All processes take those of rank 0, which are saved: without SyncBN, running statistics
        differ. Everything is put back at the end, also after an error.
        """
        backup = {key: value.clone() for key, value in self.model.state_dict().items()}
        try:
            self._set_model(self.weights_for_use())
            if self.ranks.world_size > 1:
                for tensor in self.model.state_dict().values():
                    distributed.broadcast(tensor, src=0)
            with self.precision.evaluation():
                yield self.model
        finally:
            self._set_model(backup)

    @paddle.no_grad()
    def _set_model(self, values: dict) -> None:
        for key, target in self.model.state_dict().items():
            value = values[key]
            tensor = value if paddle.is_tensor(value) else paddle.to_tensor(value)
            target.set_value(tensor.astype(target.dtype))

    def state_dict(self) -> dict:
        """Everything a resume needs, as numpy arrays and plain values."""
        return {
            "model": {k: v.numpy() for k, v in self.model.state_dict().items()},
            "optimizer": optimizer_state(self.optimizer, self.model),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "scaler": self.precision.state_dict(),
            "progress": {
                "batch_setting": dict(self.batch_setting),
                "schedule": None if self.schedule is None else self.schedule.state_dict(),
                **{name: getattr(self, name) for name in _PROGRESS},
            },
        }

    def set_state_dict(self, state: dict, source: str = "checkpoint") -> list[str]:
        """Takes up a run where `state_dict` left it; returns remarks about settings that differ
        from those of the checkpoint.

        Raises:
            CheckpointError: it belongs to another model or optimizer.
        """
        progress, ema = state["progress"], state["ema"]
        if problem := misfit(state["model"], self.model.state_dict()):
            raise CheckpointError(
                f"{source} belongs to another model: {problem}. Resume with the config it was "
                "trained with."
            )
        self._set_model(state["model"])
        try:
            if state["optimizer"] or progress["iteration"]:  # empty before the first step
                restore_optimizer_state(self.optimizer, self.model, state["optimizer"])
            if self.ema is not None and ema is not None:
                self.ema.set_state_dict(ema)
            self.precision.set_state_dict(state["scaler"])
        except KeyError as error:
            raise CheckpointError(
                f"{source} does not fit the optimizer, EMA or amp settings: {error.args[0]}. "
                "Resume with the config it was trained with."
            ) from None
        remarks = []
        if (self.ema is None) != (ema is None):
            fate = "of the checkpoint is left out" if self.ema is None else "starts anew"
            remarks.append(f"use_ema differs from the checkpoint: the average {fate}")
        for name in _PROGRESS:
            setattr(self, name, progress[name])
        remarks += self._compare_batches(progress["batch_setting"])
        # The rate is a function of the iteration, so the count is all there is to set.
        self.scheduler.last_epoch = self.iteration - 1
        self.scheduler.step()
        return remarks

    def _compare_batches(self, before: dict) -> list[str]:
        """Moves the position where the batches have changed, and returns remarks on it: a position
        inside an epoch holds for the same batches only, and iterations count by epochs done.
        """
        changed = {k: v for k, v in self.batch_setting.items() if before.get(k, v) != v}
        if not changed:
            return []
        listed = ", ".join(f"{k} {before[k]} -> {v}" for k, v in changed.items())
        remarks = [f"settings that decide the order of the samples have changed: {listed}"]
        steps, iteration = self.batch_setting["steps_per_epoch"], self.iteration
        if self.step_in_epoch >= before["steps_per_epoch"]:  # the epoch is complete, stay behind it
            self.step_in_epoch = steps
        elif self.step_in_epoch:
            remarks.append(
                f"so epoch {self.epoch} starts from its beginning instead of step "
                f"{self.step_in_epoch}"
            )
            self.step_in_epoch = 0
        self.iteration = self.epoch * steps + self.step_in_epoch
        if self.best is not None:
            self.best = {**self.best, "iteration": (self.best["epoch"] + 1) * steps}
        if self.iteration != iteration:
            done = self.epoch + (self.step_in_epoch > 0)
            remarks.append(
                f"the schedule goes on after {done} epochs done: iteration {iteration} -> "
                f"{self.iteration}, {before['steps_per_epoch']} -> {steps} steps per epoch"
            )
        return remarks
