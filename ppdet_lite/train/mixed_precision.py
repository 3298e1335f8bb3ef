"""Mixed precision: which operators run in half precision, and the scaling of the loss.

O1 casts at the operators that gain from it; O2 keeps the whole network in half precision with
float32 master weights in the optimizer. float16 needs a scaled loss; a step whose scaled gradients
overflow is skipped and the scale is halved (paddle.amp.GradScaler). All of it needs a GPU: on a CPU
Paddle's autocast has no effect, whatever the type.
"""

import contextlib
from typing import Optional

import paddle

from ppdet_lite.core.errors import ConfigError


class Precision:
    """How forward, backward and update are run; plain float32 unless `enabled`.

    Args:
        enabled: mixed precision on.
        level: `O1` or `O2`.
        init_loss_scaling: first scale of the loss.
        master_grad: O2: keep gradients in float32, whatever the version of Paddle (PaddleDetection
            switches it on for 2.5 only).
        white_list, black_list: operators forced to half precision and to float32 under O1.
    """

    def __init__(
        self,
        enabled: bool = False,
        level: str = "O1",
        init_loss_scaling: float = 1024.0,
        master_grad: bool = False,
        white_list: Optional[list] = None,
        black_list: Optional[list] = None,
    ):
        if level not in ("O1", "O2"):
            raise ConfigError(f"amp_level: found '{level}', allowed: O1, O2")
        self.enabled = enabled
        self.level = level
        self.master_grad = master_grad
        self.white_list = white_list
        self.black_list = black_list
        self.scaler = None
        if enabled:
            self.scaler = paddle.amp.GradScaler(init_loss_scaling=float(init_loss_scaling))

    @classmethod
    def from_config(cls, cfg, device: str) -> "Precision":
        """Reads `amp`, `amp_level`, `init_loss_scaling`, `master_grad` and the operator lists.

        Raises:
            ConfigError: the device cannot do it.
        """
        enabled = bool(cfg.get("amp", False))
        if enabled and device == "cpu":
            raise ConfigError(
                "mixed precision needs a GPU, and this run is on the CPU, where Paddle computes in "
                "float32 only. Leave out --amp (or set -o amp=false)."
            )
        return cls(
            enabled,
            cfg.get("amp_level", "O1"),
            cfg.get("init_loss_scaling", 1024.0),
            bool(cfg.get("master_grad", False)),
            cfg.get("custom_white_list"),
            cfg.get("custom_black_list"),
        )

    def prepare(self, model, optimizer):
        """Casts model and optimizer for O2; returns both."""
        if not (self.enabled and self.level == "O2"):
            return model, optimizer
        return paddle.amp.decorate(
            models=model,
            optimizers=optimizer,
            level="O2",
            dtype="float16",
            master_grad=self.master_grad,
        )

    def autocast(self):
        """Context of the forward pass."""
        if not self.enabled:
            return contextlib.nullcontext()
        return paddle.amp.auto_cast(
            custom_white_list=self.white_list,
            custom_black_list=self.black_list,
            level=self.level,
            dtype="float16",
        )

    def evaluation(self):
        """Context of an evaluation between training steps. A network whose weights are in half
        precision (O2) needs autocasting there too; under O1 it is evaluated in float32.
        """
        return self.autocast() if self.level == "O2" else contextlib.nullcontext()

    def backward(self, loss) -> None:
        """Backward pass of the (scaled) loss; gradients add up over calls."""
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        loss.backward()

    def update(self, optimizer) -> None:
        """Optimizer step, left out by the scaler when gradients overflowed; clears gradients."""
        if self.scaler is not None:
            self.scaler.step(optimizer)
            self.scaler.update()
        else:
            optimizer.step()
        optimizer.clear_grad()

    def state_dict(self) -> dict:
        """State of the loss scale ({} without one), as plain numbers."""
        if self.scaler is None:
            return {}
        return self.scaler.state_dict()

    def set_state_dict(self, state: dict) -> None:
        """The inverse of `state_dict`."""
        if self.scaler is not None and state:
            self.scaler.load_state_dict(state)
