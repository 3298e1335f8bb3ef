"""Mixed precision: which operators run in half precision, and the scaling of the loss.

O1 casts at the operators that gain from it; O2 keeps the whole network in half precision with
float32 master weights in the optimizer. A step whose scaled gradients overflow is skipped and the
scale is halved (paddle.amp.GradScaler). On a CPU Paddle's autocast has no effect.
"""

import contextlib
from typing import ContextManager, Optional

import paddle

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.settings import RuntimeSettings


class Precision:
    """Runs forward, backward and update as the settings ask; plain float32 without `amp`.

    Args:
        settings: `master_grad` (O2: gradients in float32) holds for every version of Paddle, in
            PaddleDetection for 2.5 only.
        device: that the run is on.

    Attributes:
        scaler: of the loss, None without mixed precision.
        half_weights: the network itself is in half precision (O2).
    """

    def __init__(self, settings: Optional[RuntimeSettings] = None, device: str = "cpu"):
        self.settings = settings or RuntimeSettings()
        if self.settings.amp and device == "cpu":
            raise ConfigError(
                "`amp`: mixed precision needs a GPU, and this run is on the CPU, where Paddle "
                "computes in float32 only. Leave it out (amp=false)."
            )
        self.half_weights = self.settings.amp and self.settings.amp_level == "O2"
        scale = float(self.settings.init_loss_scaling)
        self.scaler = paddle.amp.GradScaler(init_loss_scaling=scale) if self.settings.amp else None

    def prepare(
        self, model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer
    ) -> tuple[paddle.nn.Layer, paddle.optimizer.Optimizer]:
        """Casts model and optimizer for O2; returns both."""
        if not self.half_weights:
            return model, optimizer
        options = {"level": "O2", "dtype": "float16", "master_grad": self.settings.master_grad}
        return paddle.amp.decorate(models=model, optimizers=optimizer, **options)

    def autocast(self) -> ContextManager:
        """Context of the forward pass."""
        if not self.settings.amp:
            return contextlib.nullcontext()
        keys = ("custom_white_list", "custom_black_list")
        lists = {key: getattr(self.settings, key) for key in keys}
        return paddle.amp.auto_cast(level=self.settings.amp_level, dtype="float16", **lists)

    def evaluation(self) -> ContextManager:
        """Context of an evaluation between training steps: under O2 as in training, under O1 in
        float32.
        """
        return self.autocast() if self.half_weights else contextlib.nullcontext()

    def backward(self, loss: paddle.Tensor) -> None:
        """Backward pass of the (scaled) loss; gradients add up over calls."""
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def update(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Optimizer step, left out by the scaler when gradients overflowed; clears gradients."""
        if self.scaler is not None:
            self.scaler.step(optimizer)
            self.scaler.update()
        else:
            optimizer.step()
        optimizer.clear_grad()

    def state_dict(self) -> dict:
        """State of the loss scale ({} without one), as plain numbers."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def set_state_dict(self, state: dict) -> None:
        """The inverse of `state_dict`; a KeyError names keys that differ."""
        if self.scaler is not None and state:
            if odd := sorted(map(str, state.keys() ^ self.scaler.state_dict().keys())):
                raise KeyError(f"scaler: {', '.join(odd[:3])}")
            self.scaler.load_state_dict(state)
