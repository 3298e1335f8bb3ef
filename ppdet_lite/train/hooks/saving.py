"""Writes checkpoints: every snapshot_epoch, the best one, the last one, and one on Ctrl-C."""

import math
import os
import tempfile
from typing import Optional

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.train.hooks.base import Hook, is_snapshot
from ppdet_lite.utils.logger import get_logger
from ppdet_lite.weights.checkpoint import clean_temporaries, save_checkpoint

_NAME_TABLE = "StructuredToParameterName@@"


class CheckpointHook(Hook):
    """Saves `<epoch>` at snapshots, `model_final` at the end and `interrupted` on Ctrl-C.

    A snapshot that cannot be written is an error in the log and the run goes on: what was trained
    is in memory, and the next snapshot may succeed. The result of the run is not given up like
    that: when `model_final` cannot be written, its weights go to another place and the run ends
    with a `CheckpointError` that names it.

    Args:
        folder: where checkpoints go.
        snapshot_epoch: epochs between snapshots.
        meta: facts for the side file (`class_names`, `category_ids`, `config`).
    """

    def __init__(self, folder: str, snapshot_epoch: int, meta: Optional[dict] = None):
        self.folder = folder
        self.snapshot_epoch = snapshot_epoch
        self.meta = dict(meta or {})
        self._written = None  # what the newest model_final holds

    def before_train(self, trainer) -> None:
        """Clears away what a killed run left half-written."""
        if trainer.state.ranks.rank == 0:
            for name in clean_temporaries(self.folder):
                get_logger().info("Removed the unfinished %s", os.path.join(self.folder, name))

    def after_epoch(self, trainer) -> None:
        """Saves before the evaluation hook runs, so nothing depends on it."""
        if not is_snapshot(trainer, self.snapshot_epoch):
            return
        last = trainer.state.epoch + 1 == trainer.epochs
        self._try_to_save(trainer, "model_final" if last else str(trainer.state.epoch))

    def after_train(self, trainer) -> None:
        """Saves the result, now with the last evaluation in its side file."""
        if trainer.state.ranks.rank != 0 or self._written == _version(trainer.state):
            return
        try:
            self._save(trainer, "model_final")
        except CheckpointError as error:
            raise CheckpointError(f"{error} {self._rescue(trainer)}") from None

    def on_interrupt(self, trainer) -> None:
        """Saves the state of the last finished step."""
        if trainer.state.ranks.rank != 0:
            return
        if self._try_to_save(trainer, "interrupted"):
            get_logger().info(
                "Stopped at iteration %d. Go on with: -r %s",
                trainer.state.iteration,
                os.path.join(self.folder, "interrupted"),
            )

    def _try_to_save(self, trainer, name: str) -> bool:
        if trainer.state.ranks.rank != 0:
            return False
        try:
            self._save(trainer, name)
        except CheckpointError as error:
            get_logger().error("%s The run goes on without this checkpoint.", error)
            return False
        return True

    def _save(self, trainer, name: str) -> None:
        state = trainer.state
        save_checkpoint(
            self.folder,
            name,
            weights_for_file(state),
            meta_of(state, self.meta),
            state.state_dict(),
        )
        if name == "model_final":
            self._written = _version(state)
        get_logger().info("Saved %s", os.path.join(self.folder, name))

    def _rescue(self, trainer) -> str:
        """Writes the bare weights wherever there is room; returns a sentence about it."""
        name = os.path.basename(os.path.normpath(self.folder))
        places = [
            self.folder,
            os.path.join(tempfile.gettempdir(), f"ppdet_lite_rescued_{name}"),
            os.path.join(os.path.expanduser("~"), f"ppdet_lite_rescued_{name}"),
        ]
        weights, meta = weights_for_file(trainer.state), meta_of(trainer.state, self.meta)
        for place in places:
            try:
                # Another name than model_final: an earlier one stays whole, with its .pdopt.
                stem = save_checkpoint(place, "model_rescued", weights, meta)
            except CheckpointError:
                continue
            return f"The trained weights were written to {stem}.pdparams instead."
        return (
            f"The trained weights could not be written anywhere (tried {', '.join(places)}) and "
            f"are lost; train the last epochs again from the newest checkpoint in {self.folder}."
        )


class BestModelHook(Hook):
    """Saves `best_model` when the evaluation that just ran was the best so far.

    Args: as `CheckpointHook`.
    """

    def __init__(self, folder: str, meta: Optional[dict] = None):
        self.folder = folder
        self.meta = dict(meta or {})

    def after_epoch(self, trainer) -> None:
        """Stands after the evaluation hook, which notes the best result in the state."""
        state = trainer.state
        best = state.best
        if state.ranks.rank != 0 or best is None or best["iteration"] != state.iteration:
            return
        try:
            save_checkpoint(
                self.folder,
                "best_model",
                weights_for_file(state),
                meta_of(state, self.meta),
                state.state_dict(),
            )
        except CheckpointError as error:
            get_logger().error("%s The run goes on without this best_model.", error)
            return
        get_logger().info("Saved %s", os.path.join(self.folder, "best_model"))


def _version(state) -> tuple:
    """Tells whether a checkpoint written now would say anything new."""
    return state.iteration, (state.last_evaluation or {}).get("epoch")


def weights_for_file(state) -> dict:
    """Weights for use as arrays, with the table of names that `paddle.load` expects."""
    weights = {key: tensor.numpy() for key, tensor in state.weights_for_use().items()}
    weights[_NAME_TABLE] = {key: value.name for key, value in state.model.state_dict().items()}
    return weights


def meta_of(state, facts: dict) -> dict:
    """Content of the side file. Metrics that are not defined (no object of a size) become null."""
    metrics = (state.last_evaluation or {}).get("metrics")
    if metrics is not None:
        metrics = {k: v if math.isfinite(v) else None for k, v in metrics.items()}
    return {
        **facts,
        "epoch": state.epoch,
        "iteration": state.iteration,
        "ema": state.ema is not None,
        "best": state.best,
        "metrics": metrics,
        "metrics_epoch": (state.last_evaluation or {}).get("epoch"),
    }
