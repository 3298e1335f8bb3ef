"""The learning rate as a function of the iteration: base rate x decay x warm-up ramp.

An iteration is one optimizer step (accumulated micro batches count once), the first is number 0.
In PaddleDetection the rate falls to its last value when a milestone lies inside the warm-up;
elsewhere the two agree.
"""

import bisect
import math
from dataclasses import dataclass
from typing import Optional, Union

from paddle.optimizer.lr import LambdaDecay

from ppdet_lite.core.annotations import Count, Positive, checked
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create_list, register


class Decay:
    """The fall of the base rate in the course of a training."""

    use_warmup: bool = True

    def factor(
        self, iteration: int, base_lr: float, warmup_steps: int, steps_per_epoch: int, epochs: int
    ) -> float:
        """Multiplier of `base_lr` at this iteration, the ramp of a warm-up not included."""
        raise NotImplementedError

    def mismatch(self, epochs: int) -> str:
        """A text about a part that does not fit a training of so many epochs, or ""."""
        return ""


@register
@dataclass
class PiecewiseDecay(Decay):
    """Multiplies the rate by `gamma` at every milestone.

    Args:
        gamma: one factor applied at each milestone, or a list: the factor of the *base* rate after
            each milestone. (PaddleDetection turns a single gamma into gamma, gamma/10, gamma/100,
            ..., the same for its usual gamma of 0.1.)
        milestones: epochs at which the rate drops.
        values: absolute rates before, between and after the milestones, instead of gamma.
        use_warmup: False leaves out the warm-up of the list.
    """

    gamma: Union[float, list[float]] = 0.1
    milestones: Optional[list[int]] = None
    values: Optional[list[float]] = None
    use_warmup: bool = True

    def __post_init__(self) -> None:
        self.drop_epochs = [8, 11] if self.milestones is None else list(self.milestones)
        count, gamma = len(self.drop_epochs), self.gamma
        if self.drop_epochs != sorted(self.drop_epochs):
            raise ConfigError(f"PiecewiseDecay.milestones must ascend, found {self.drop_epochs}")
        if isinstance(gamma, (int, float)):
            gamma = [float(gamma) ** (i + 1) for i in range(count)]
        self.gammas = gamma
        for key, found, needed in (("gamma", gamma, count), ("values", self.values, count + 1)):
            if found is not None and len(found) != needed:
                text = f"needs {needed} entries for {count} milestones, found {len(found)}"
                raise ConfigError(f"PiecewiseDecay.{key} {text}")

    def factor(
        self, iteration: int, base_lr: float, warmup_steps: int, steps_per_epoch: int, epochs: int
    ) -> float:
        passed = bisect.bisect_right([m * steps_per_epoch for m in self.drop_epochs], iteration)
        if self.values is not None:
            return self.values[passed] / base_lr
        return self.gammas[passed - 1] if passed else 1.0

    def mismatch(self, epochs: int) -> str:
        late = [milestone for milestone in self.drop_epochs if milestone >= epochs]
        return f"milestones {late} are never reached" if late else ""


@register
@dataclass
class IterationDecay(Decay):
    """Multiplies the rate by `gamma` at every milestone, given in iterations (darknet's policy
    `steps`): it takes effect at that iteration.

    Args:
        milestones: iterations, ascending.
        gamma: one factor for all milestones, or one for each, every one of the rate before it.
        use_warmup: False leaves out the warm-up of the list.
    """

    milestones: list[Count]
    gamma: Union[Positive, list[Positive]] = 0.1
    use_warmup: bool = True

    __checked__ = True

    def __post_init__(self) -> None:
        if self.milestones != sorted(self.milestones):
            raise ConfigError(f"milestones: found {self.milestones}, allowed: ascending iterations")
        gamma, count = self.gamma, len(self.milestones)
        gammas = [float(gamma)] * count if isinstance(gamma, (int, float)) else list(gamma)
        if len(gammas) != count:
            raise ConfigError(f"gamma: found {len(gammas)} factors, allowed: one or {count}")
        self.factors = [math.prod(gammas[:passed]) for passed in range(count + 1)]

    def factor(
        self, iteration: int, base_lr: float, warmup_steps: int, steps_per_epoch: int, epochs: int
    ) -> float:
        return self.factors[bisect.bisect_right(self.milestones, iteration)]


@register
@dataclass
class CosineDecay(Decay):
    """Half a cosine from the base rate to `min_lr_ratio` of it, starting where the warm-up ends.

    Args:
        max_epochs: end of the cosine in epochs; None = the length of the training.
        use_warmup: False leaves out the warm-up of the list.
        min_lr_ratio: final rate as a share of the base rate.
        last_plateau_epochs: so many epochs at the end stay at the final rate.
    """

    max_epochs: Optional[int] = None
    use_warmup: bool = True
    min_lr_ratio: float = 0.0
    last_plateau_epochs: int = 0

    def factor(
        self, iteration: int, base_lr: float, warmup_steps: int, steps_per_epoch: int, epochs: int
    ) -> float:
        total = (self.max_epochs or epochs) - self.last_plateau_epochs
        length = total * steps_per_epoch - warmup_steps
        if length <= 0 or iteration <= warmup_steps:
            return 1.0
        progress, low = min(1.0, (iteration - warmup_steps) / length), self.min_lr_ratio
        return low + (1.0 - low) * 0.5 * (math.cos(math.pi * progress) + 1.0)

    def mismatch(self, epochs: int) -> str:
        end = self.max_epochs or epochs
        if end < epochs:
            return f"max_epochs {end} leaves {epochs - end} epochs at the last rate"
        return f"max_epochs {end} is never reached" if end > epochs else ""


class Warmup:
    """A ramp to the full rate whose length is given in steps or in epochs."""

    steps: int
    epochs: Optional[Union[int, float]]
    epochs_first: bool = True

    def length(self, steps_per_epoch: int) -> int:
        """Number of iterations before the full rate is reached."""
        if self.epochs is None or not self.epochs_first:
            return max(1, self.steps)
        return max(1, int(self.epochs * steps_per_epoch))

    def ramp(self, iteration: int, length: int) -> float:
        """Multiplier of the rate while iteration < length."""
        raise NotImplementedError


@register
@dataclass
class LinearWarmup(Warmup):
    """Straight line from `start_factor` x rate at iteration 0 to the full rate after `epochs`, or
    after `steps` iterations when `epochs` is None or `epochs_first` is false.
    """

    steps: int = 500
    start_factor: float = 1.0 / 3
    epochs: Optional[Union[int, float]] = None
    epochs_first: bool = True

    def ramp(self, iteration: int, length: int) -> float:
        alpha = iteration / length
        return self.start_factor * (1.0 - alpha) + alpha


@register
@dataclass
class ExpWarmup(Warmup):
    """(iteration / length) ** power; YOLOX uses the square. `steps` counts if `epochs` is None."""

    steps: int = 1000
    epochs: Optional[Union[int, float]] = None
    power: Positive = 2

    def ramp(self, iteration: int, length: int) -> float:
        return (iteration / length) ** self.power


@register
class LearningRate:
    """Base rate, decay, warm-up and the linear rule for the batch size.

    Args:
        base_lr: rate for `reference_batch_size` images per optimizer step.
        schedulers: at most one decay and one warm-up, in any order; none = a constant rate. A
            decay of your own need not derive from `Decay`.
        reference_batch_size: total images per step that base_lr belongs to; the rate is multiplied
            by (real total batch / reference). None (PaddleDetection's configs): used as it is.
        scale_with_batch: False switches that multiplication off.
        allow_long_warmup: True trains also with a warm-up of more than half the training, which is
            refused otherwise: the model would never see the full rate, or only when it falls.
    """

    @checked
    def __init__(
        self,
        base_lr: Positive = 0.01,
        schedulers: Optional[list[Union[Decay, Warmup]]] = None,
        reference_batch_size: Optional[Count] = None,
        scale_with_batch: bool = True,
        allow_long_warmup: bool = False,
    ):
        self.allow_long_warmup = allow_long_warmup
        self.base_lr, self.scale_with_batch = base_lr, scale_with_batch
        self.reference_batch_size = reference_batch_size
        warmups = [entry for entry in schedulers or [] if isinstance(entry, Warmup)]
        decays = [entry for entry in schedulers or [] if not isinstance(entry, Warmup)]
        for role, entries in (("warmup", warmups), ("decay", decays)):
            if len(entries) > 1:
                names = " and ".join(type(entry).__name__ for entry in entries)
                raise ConfigError(f"LearningRate.schedulers holds two of the kind {role}: {names}")
        self.decay = decays[0] if decays else None
        wanted = warmups and (self.decay is None or self.decay.use_warmup)
        self.warmup = warmups[0] if wanted else None

    @classmethod
    def from_config(cls, section) -> dict:
        """Creates the `!PiecewiseDecay {...}` (or `name: PiecewiseDecay`) nodes of the list."""
        path = (cls.__name__, "schedulers")
        return {"schedulers": create_list(section.get("schedulers"), section.config, path)}

    def scaled_lr(
        self, world_size: int, batch_size: int, accumulate_steps: int = 1
    ) -> tuple[float, str]:
        """Base rate for the real total batch by the linear rule (Goyal et al., arXiv:1706.02677),
        and one line that shows the arithmetic.
        """
        total, reference = world_size * batch_size * accumulate_steps, self.reference_batch_size
        parts = f"{world_size} process(es) x {batch_size} images x {accumulate_steps} accumulation"
        rate = base = self.base_lr
        if reference and self.scale_with_batch:
            rate = base * total / reference
            return rate, (
                f"Learning rate {base:g} x {total} / {reference} = {rate:g}: total batch {total} "
                f"({parts}), reference batch {reference}. LearningRate.scale_with_batch=false "
                f"keeps {base:g}."
            )
        reason = "It states no LearningRate.reference_batch_size"
        if reference:
            reason = f"That is for batch {reference}; LearningRate.scale_with_batch is false"
        return rate, (
            f"Learning rate {base:g} as the config says; total batch {total} ({parts}). "
            f"{reason}, so the rate does not follow the batch."
        )

    def warmup_steps(self, steps_per_epoch: int) -> int:
        """Iterations until the warm-up ends (0 without one)."""
        return self.warmup.length(steps_per_epoch) if self.warmup is not None else 0

    def remarks(self, steps_per_epoch: int, epochs: int) -> list[str]:
        """Lines about what does not fit the length of the training, which moves none of it.

        Raises:
            ConfigError: the warm-up takes more than half of the training; names numbers that fit.
        """
        lines, total, warmup = [], epochs * steps_per_epoch, self.warmup_steps(steps_per_epoch)
        if warmup > max(1, total // 2):
            name = type(self.warmup).__name__
            reached = "never reaches its full value" if warmup > total else "is full only late"
            problem = (
                f"LearningRate.schedulers: the warm-up {name} takes {warmup} iterations of {total} "
                f"({epochs} epochs x {steps_per_epoch}), so the learning rate {reached}"
            )
            if not self.allow_long_warmup:
                raise ConfigError(
                    f"{problem}, allowed: at most half of them. These would do: "
                    f"LearningRate.schedulers.{name}.{self._shorter(steps_per_epoch, total)}, or "
                    f"epoch={math.ceil(2 * warmup / steps_per_epoch)}; "
                    "LearningRate.allow_long_warmup=true trains as it is"
                )
            lines.append(f"{problem}.")
        mismatch = self.decay.mismatch(epochs) if isinstance(self.decay, Decay) else ""
        if mismatch:
            lines.append(
                f"LearningRate.schedulers: {type(self.decay).__name__} is meant for another length "
                f"of training: epoch is {epochs}, so {mismatch}. The key epoch does not move it."
            )
        return lines

    def _shorter(self, steps_per_epoch: int, total: int) -> str:
        """The key of the warm-up's length with a value of a tenth of the training."""
        if isinstance(self.warmup, Warmup) and (
            self.warmup.epochs is None or not self.warmup.epochs_first
        ):
            return f"steps={max(1, total // 10)}"
        return f"epochs={max(1, total // 10) / steps_per_epoch:.3g}"

    def at(
        self, iteration: int, steps_per_epoch: int, epochs: int, base_lr: Optional[float] = None
    ) -> float:
        """The rate of one iteration."""
        rate = self.base_lr if base_lr is None else base_lr
        warmup_steps = self.warmup_steps(steps_per_epoch)
        if self.decay is not None:
            # `values` of a piecewise decay are absolute rates for the config's own base rate.
            length = warmup_steps, steps_per_epoch, epochs
            rate *= self.decay.factor(iteration, self.base_lr, *length)
        if self.warmup is not None and iteration < warmup_steps:
            rate *= self.warmup.ramp(iteration, warmup_steps)
        return rate

    def __call__(
        self, steps_per_epoch: int, epochs: int, base_lr: Optional[float] = None
    ) -> LambdaDecay:
        """A Paddle scheduler that is stepped once after every optimizer step."""
        return LambdaDecay(1.0, lambda step: self.at(step, steps_per_epoch, epochs, base_lr))
