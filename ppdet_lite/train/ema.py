"""Exponential moving average of the weights.

A float32 shadow of the whole state dict (running statistics included) starts at zero and moves
after every optimizer step, t = 1, 2, ...:

    shadow = decay_t x shadow + (1 - decay_t) x weights

* `threshold` (PP-YOLO): decay_t = min(decay, t / (9 + t)); read out as shadow / (1 - decay_t ** t).
  The divisor makes up for the zero start. It is exact for a constant decay only; while decay_t
  still grows it is off by a few percent in the first 20 steps and exact to float32 later, and kept
  because the published models were read out like this.
* `exponential` (YOLOX): decay_t = decay x (1 - exp(-t / 2000)); read out as it is.
* `normal`: decay_t = decay; read out as shadow / (1 - decay ** t).
"""

import math
from typing import Mapping, Optional

import numpy as np
import paddle
from paddle import nn

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.train.optimizer import misfit

KINDS = ("threshold", "exponential", "normal")


class ModelEMA:
    """The average of one model's weights.

    Args:
        model: layer whose state dict is averaged.
        decay: final decay.
        kind: `threshold`, `exponential` or `normal`, see the module.
        filter_no_grad: leave frozen parameters out; they are read out as the model has them.
    """

    def __init__(self, model: nn.Layer, decay: float, kind: str, filter_no_grad: bool = False):
        if kind not in KINDS:
            raise ConfigError(f"ema_decay_type: found '{kind}', allowed: {', '.join(KINDS)}")
        if kind == "normal" and decay >= 1:
            raise ConfigError(f"ema_decay: found {decay}, allowed for kind normal: 0 to below 1")
        self.decay, self.kind, self.step = decay, kind, 0
        parameters = model.named_parameters() if filter_no_grad else ()
        frozen = {key for key, parameter in parameters if parameter.stop_gradient}
        self._shadow = {
            key: paddle.zeros(value.shape, dtype="float32")
            for key, value in model.state_dict().items()
            if key not in frozen
        }

    def decay_at(self, step: int) -> float:
        """The decay used by the update number `step` (from 1)."""
        if self.kind == "threshold":
            return min(self.decay, step / (9 + step))
        if self.kind == "exponential":
            return self.decay * (1.0 - math.exp(-step / 2000))
        return self.decay

    @paddle.no_grad()
    def update(
        self, model: nn.Layer, master_weights: Optional[Mapping[str, paddle.Tensor]] = None
    ) -> None:
        """Moves the shadow towards the model; call once after every optimizer step. The float32
        `master_weights` take the place of half precision parameters (AMP O2).
        """
        self.step += 1
        weight = paddle.to_tensor(1.0 - self.decay_at(self.step), dtype="float32")
        state = {**model.state_dict(), **(master_weights or {})}
        for key, shadow in self._shadow.items():
            shadow.lerp_(state[key].astype("float32"), weight)

    @paddle.no_grad()
    def averaged(self, model: nn.Layer) -> dict[str, paddle.Tensor]:
        """The read-out of the whole state dict as float32 tensors; before the first update these
        are the model's own weights.
        """
        shadow = self._shadow if self.step else {}
        is_biased = shadow and self.kind != "exponential"
        factor = 1.0 / (1.0 - self.decay_at(self.step) ** self.step) if is_biased else 1.0
        return {
            key: shadow[key] * factor if key in shadow else value.astype("float32")
            for key, value in model.state_dict().items()
        }

    def state_dict(self) -> dict:
        """State for a resume: `{"step": int, "shadow": {key: float32 array}}`."""
        return {"step": self.step, "shadow": {k: v.numpy() for k, v in self._shadow.items()}}

    def set_state_dict(self, state: dict) -> None:
        """The inverse of `state_dict`; a KeyError if the keys are not those of this model."""
        if problem := misfit(state["shadow"], self._shadow):
            raise KeyError(f"ema: {problem}")
        self.step = int(state["step"])
        for key, value in state["shadow"].items():
            self._shadow[key].set_value(np.asarray(value, dtype=np.float32))
