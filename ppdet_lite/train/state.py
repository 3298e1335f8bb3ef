"""All that a run is: the object that trainer and hooks share and that a checkpoint stores."""

import contextlib
from typing import Optional

import numpy as np
import paddle
from paddle import distributed

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.device.ranks import SINGLE_PROCESS, Ranks
from ppdet_lite.train.ema import ModelEMA
from ppdet_lite.train.mixed_precision import Precision
from ppdet_lite.train.optimizer import optimizer_state, restore_optimizer_state


class TrainState:
    """Model, optimizer, average, loss scale and position of a run.

    Args:
        model: the bare model (not wrapped for several processes).
        optimizer: its optimizer.
        scheduler: learning rate, stepped once per optimizer step.
        seed: seed of the run.
        ema: average of the weights, None without one.
        precision: mixed precision, float32 by default.
        ranks: this process among those that train together.

    Attributes:
        epoch, step_in_epoch: position; step_in_epoch counts the finished steps of `epoch`.
        iteration: optimizer steps done since the start.
        best: `{"name", "value", "epoch", "iteration"}` of the best evaluation so far, or None.
        last_evaluation: `{"epoch", "metrics"}` of the latest one, or None.
        batch_setting: what the order of the samples depends on (`steps_per_epoch` among it),
            compared on resume.
    """

    def __init__(
        self,
        model,
        optimizer,
        scheduler,
        seed: int = 0,
        ema: Optional[ModelEMA] = None,
        precision: Optional[Precision] = None,
        ranks: Ranks = SINGLE_PROCESS,
    ):
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.seed = seed
        self.ema = ema
        self.precision = precision or Precision()
        self.ranks = ranks
        self.epoch = 0
        self.step_in_epoch = 0
        self.iteration = 0
        self.best = None
        self.last_evaluation = None
        self.batch_setting = {}

    def update_ema(self) -> None:
        """Moves the average after an optimizer step."""
        if self.ema is not None:
            self.ema.update(self.model, self._master_weights())

    def _master_weights(self) -> dict:
        if not (self.precision.enabled and self.precision.level == "O2"):
            return {}
        masters = self.optimizer.state_dict().get("master_weights") or {}
        return {
            key: masters[parameter.name]
            for key, parameter in self.model.named_parameters()
            if parameter.name in masters
        }

    def weights_for_use(self) -> dict:
        """The weights that evaluation and `.pdparams` use: averaged when EMA is on.

        Returns:
            key -> float32 tensor.
        """
        if self.ema is not None:
            return self.ema.averaged(self.model)
        masters = self._master_weights()
        return {
            key: masters.get(key, value).astype("float32")
            for key, value in self.model.state_dict().items()
        }

    @contextlib.contextmanager
    def evaluation_weights(self):
        """Context in which the model holds the weights for use, the same ones in all processes, and
        can be called as `Precision.evaluation` says.

        Running statistics differ between processes without SyncBN; those of rank 0 are the ones
        that are saved, so they are the ones that are evaluated. Everything is put back at the end,
        also after an error.
        """
        backup = {key: value.clone() for key, value in self.model.state_dict().items()}
        try:
            self._set_model(self.weights_for_use())
            if self.ranks.world_size > 1:
                for _, tensor in self.model.state_dict().items():
                    distributed.broadcast(tensor, src=0)
            with self.precision.evaluation():
                yield self.model
        finally:
            self._set_model(backup)

    @paddle.no_grad()
    def _set_model(self, values: dict) -> None:
        for key, target in self.model.state_dict().items():
            value = values[key]
            if not paddle.is_tensor(value):
                value = paddle.to_tensor(np.asarray(value))
            target.set_value(value.astype(target.dtype))

    def state_dict(self) -> dict:
        """Everything a resume needs, as numpy arrays and plain values."""
        return {
            "model": {k: v.numpy() for k, v in self.model.state_dict().items()},
            "optimizer": optimizer_state(self.optimizer, self.model),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "scaler": self.precision.state_dict(),
            "progress": {
                "epoch": self.epoch,
                "step_in_epoch": self.step_in_epoch,
                "iteration": self.iteration,
                "best": self.best,
                "last_evaluation": self.last_evaluation,
                "seed": self.seed,
                "batch_setting": self.batch_setting,
            },
        }

    def set_state_dict(self, state: dict, source: str = "checkpoint") -> list:
        """Takes up a run where `state_dict` left it.

        Returns:
            remarks about settings that differ from those of the checkpoint.

        Raises:
            CheckpointError: it belongs to another model or optimizer.
        """
        own = self.model.state_dict()
        if set(own) != set(state["model"]):
            odd = sorted(set(own) ^ set(state["model"]))
            raise CheckpointError(
                f"{source} belongs to another model: {len(odd)} keys differ, for instance "
                f"{', '.join(odd[:3])}. Resume with the config it was trained with."
            )
        wrong = [k for k, v in own.items() if list(v.shape) != list(state["model"][k].shape)]
        if wrong:
            raise CheckpointError(
                f"{source} belongs to another model: {len(wrong)} tensors have another shape, for "
                f"instance {wrong[0]}. Resume with the config it was trained with."
            )
        remarks = []
        self._set_model(state["model"])
        try:
            if state["optimizer"]:  # empty when not one step was made
                restore_optimizer_state(self.optimizer, self.model, state["optimizer"])
            if self.ema is not None and state["ema"] is not None:
                self.ema.set_state_dict(state["ema"])
        except KeyError as error:
            raise CheckpointError(
                f"{source} does not fit the optimizer or EMA settings: {error.args[0]}. Resume "
                f"with the config it was trained with."
            ) from None
        if (self.ema is None) != (state["ema"] is None):
            remarks.append(
                "use_ema differs from the checkpoint: the average "
                + ("starts anew" if self.ema is not None else "of the checkpoint is left out")
            )
        self.precision.set_state_dict(state["scaler"])
        progress = state["progress"]
        self.epoch = progress["epoch"]
        self.step_in_epoch = progress["step_in_epoch"]
        self.iteration = progress["iteration"]
        self.best = progress["best"]
        self.last_evaluation = progress["last_evaluation"]
        self.seed = progress["seed"]
        # The rate is a function of the iteration, so the count is all there is to set.
        self.scheduler.last_epoch = self.iteration - 1
        self.scheduler.step()
        remarks += self._compare_batches(progress["batch_setting"])
        return remarks

    def _compare_batches(self, before: dict) -> list:
        """Remarks on changed batches; a position inside an epoch only holds for the same ones."""
        changed = {k: v for k, v in self.batch_setting.items() if before.get(k, v) != v}
        if not changed:
            return []
        listed = ", ".join(f"{k} {before[k]} -> {v}" for k, v in changed.items())
        remarks = [f"settings that decide the order of the samples have changed: {listed}"]
        if self.step_in_epoch >= before["steps_per_epoch"]:  # the epoch is complete, stay behind it
            self.step_in_epoch = self.batch_setting["steps_per_epoch"]
        elif self.step_in_epoch:
            remarks.append(
                f"so epoch {self.epoch} starts from its beginning instead of step "
                f"{self.step_in_epoch}"
            )
            self.step_in_epoch = 0
        return remarks
