"""The moments of a training run that a hook can act on."""


class Hook:
    """Does nothing at every moment; subclasses override what they need.

    Every method gets the `Trainer`, whose `state` holds everything there is to know. Hooks do not
    know one another; `train/run.py` fixes their order.
    """

    def before_train(self, trainer) -> None:
        """Once, before the first epoch."""

    def before_epoch(self, trainer) -> None:
        """Before the first step of an epoch (or of the rest of it, after a resume)."""

    def before_update(self, trainer, record) -> None:
        """Losses and gradients are there, the weights have not moved yet."""

    def after_step(self, trainer, record) -> None:
        """The weights have moved and `state.iteration` counts the step."""

    def after_epoch(self, trainer) -> None:
        """All steps of `state.epoch` are done. Also called on resuming a finished epoch."""

    def after_train(self, trainer) -> None:
        """After the last epoch."""

    def on_interrupt(self, trainer) -> None:
        """After Ctrl-C; the state is that of a finished step."""

    def close(self, trainer) -> None:
        """At the very end, also after an error."""


def is_snapshot(trainer, snapshot_epoch: int) -> bool:
    """Whether the current epoch is followed by a checkpoint and an evaluation."""
    epoch = trainer.state.epoch
    return (epoch + 1) % max(1, snapshot_epoch) == 0 or epoch + 1 == trainer.epochs
