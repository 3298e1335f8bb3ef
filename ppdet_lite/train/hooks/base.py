"""The moments of a training run that a hook can act on."""

from typing import Any, NamedTuple, Protocol

from ppdet_lite.train.state import TrainState


class StepRecord(NamedTuple):
    """One optimizer step.

    Attributes:
        losses: per micro batch each loss term and the total under `loss`.
        batches: the micro batches as the reader gave them (numpy), with `im_file`.
        images: images of all micro batches in this process.
        learning_rate: the rate of this step.
        data_cost: seconds spent waiting for the reader.
    """

    losses: list[dict[str, float]]
    batches: list[dict]
    images: int
    learning_rate: float
    data_cost: float

    def mean_losses(self) -> dict[str, float]:
        """Loss terms averaged over the micro batches."""
        return {k: sum(each[k] for each in self.losses) / len(self.losses) for k in self.losses[0]}


class Run(Protocol):
    """The training run as hooks see it.

    Attributes:
        ends_early: a hook may set it; the epoch at which it does so is the last.
    """

    state: TrainState
    epochs: int
    steps_per_epoch: int
    ends_early: bool


class Hook:
    """Does nothing at every moment; subclasses override what they need. Hooks share `run.state`."""

    def before_train(self, run: Run) -> None:
        """Once, before the first epoch."""

    def before_epoch(self, run: Run) -> None:
        """Before the first step of an epoch (or of the rest of it, after a resume)."""

    def before_forward(self, run: Run, number: int, inputs: dict[str, Any]) -> None:
        """The tensors of micro batch `number` (from 0) are there; a hook may replace them in
        `inputs`, but leaves weights, gradients and running statistics as they are.
        """

    def before_update(self, run: Run, record: StepRecord) -> None:
        """Losses and gradients are there, the weights have not moved yet."""

    def after_step(self, run: Run, record: StepRecord) -> None:
        """The weights have moved and `state.iteration` counts the step."""

    def after_epoch(self, run: Run) -> None:
        """All steps of `state.epoch` are done. Also called on resuming a finished epoch."""

    def after_train(self, run: Run) -> None:
        """After the last epoch."""

    def on_interrupt(self, run: Run) -> None:
        """After Ctrl-C or an error between two steps; the state is that of a finished step."""

    def on_error(self, run: Run) -> None:
        """After an error that leaves no state worth saving: losses that are not finite, a full
        disk, an error within a step or before the first.
        """

    def close(self, run: Run) -> None:
        """At the very end, also after an error."""
