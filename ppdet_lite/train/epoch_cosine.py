"""The schedule of ASFF's YOLOv3: constant, then a cosine in steps of whole epochs."""

import math
from dataclasses import dataclass

from ppdet_lite.core.annotations import Count, Probability
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.train.schedule import Decay


@register
@dataclass
class EpochCosineDecay(Decay):
    """The base rate up to epoch `start_epoch`, then half a cosine to `min_lr_ratio` of it at epoch
    `end_epoch`, which stays. The rate changes at the beginning of an epoch only.
    """

    start_epoch: int = 20
    end_epoch: Count = 270
    min_lr_ratio: Probability = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.start_epoch < self.end_epoch:
            raise ConfigError(
                f"EpochCosineDecay.start_epoch: found {self.start_epoch}, allowed: 0 to "
                f"{self.end_epoch - 1}, below end_epoch"
            )

    def factor(
        self, iteration: int, base_lr: float, warmup_steps: int, steps_per_epoch: int, epochs: int
    ) -> float:
        epoch = iteration // steps_per_epoch
        progress = (epoch - self.start_epoch) / (self.end_epoch - self.start_epoch)
        cosine = math.cos(math.pi * min(max(progress, 0.0), 1.0))
        return self.min_lr_ratio + (1 - self.min_lr_ratio) * 0.5 * (1 + cosine)

    def mismatch(self, epochs: int) -> str:
        return f"end_epoch {self.end_epoch} is never reached" if self.end_epoch > epochs else ""
