"""The epochs that one pass of the learning rate's schedule covers, also in a longer run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Mapping, Optional

from paddle.optimizer.lr import LambdaDecay

from ppdet_lite.train.schedule import LearningRate


@dataclass(frozen=True)
class SchedulePass:
    """A pass over the whole schedule, warm-up and decay, from epoch `start` to before `end`.

    The schedule of a run is that of its first length, `curve_epochs`. When a finished run is
    extended, the schedule runs anew over the added epochs, compressed or stretched to their number.

    Attributes:
        curve_epochs: length of training that the schedule is computed for.
        start: first epoch of the pass.
        end: the epoch behind its last, the length of the run so far.
    """

    curve_epochs: int
    start: int
    end: int

    @classmethod
    def first(cls, epochs: int) -> SchedulePass:
        """The pass of a run of `epochs` epochs that starts anew."""
        return cls(epochs, 0, epochs)

    @classmethod
    def after(cls, progress: Mapping[str, Any], epochs: int) -> tuple[SchedulePass, str]:
        """The pass of a resumed run of now `epochs` epochs, and a remark on it or "".

        Args:
            progress: of the checkpoint, see `TrainState.state_dict`.
        """
        saved = progress.get("schedule")
        before = cls(**saved) if saved else cls.first(epochs)
        is_whole = progress["step_in_epoch"] >= progress["batch_setting"]["steps_per_epoch"]
        is_finished = progress["epoch"] + is_whole >= before.end
        if epochs == before.end or (is_finished and epochs < before.end):
            return before, ""
        if is_finished:
            longer = cls(before.curve_epochs, before.end, epochs)
            return longer, (
                f"The finished run of {before.end} epochs is extended to {epochs}: the learning "
                f"rate's schedule of {longer.curve_epochs} epochs, warm-up and decay, runs anew "
                f"over epochs {longer.start} to {epochs - 1}; what else depends on the number of "
                "an epoch (mosaic_epoch, l1_epoch) goes on counting."
            )
        changed = cls.first(epochs) if before.start == 0 else replace(before, end=epochs)
        return changed, (
            f"epoch was {before.end} and is {epochs} now, before the run was finished: the "
            f"learning rate goes on as in a run of {epochs} epochs from the start."
        )

    def scheduler(
        self, curve: LearningRate, steps_per_epoch: int, base_lr: Optional[float] = None
    ) -> LambdaDecay:
        """The rate as a Paddle scheduler that is stepped once after every optimizer step."""

        def rate(iteration: int) -> float:
            done = max(0, iteration - self.start * steps_per_epoch)
            place = done * self.curve_epochs // (self.end - self.start)
            return curve.at(place, steps_per_epoch, self.curve_epochs, base_lr)

        return LambdaDecay(1.0, rate)

    def state_dict(self) -> dict[str, int]:
        """The fields by name."""
        return asdict(self)
