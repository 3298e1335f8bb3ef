"""Checkpoints and evaluations: at snapshots, at the end, the best model, and after Ctrl-C."""

import math
import os
import shutil
import tempfile
from dataclasses import dataclass
from typing import Optional

from ppdet_lite.core.errors import CheckpointError, UserError
from ppdet_lite.evaluate.evaluator import Evaluator
from ppdet_lite.train.hooks.base import Hook, Run
from ppdet_lite.train.state import TrainState
from ppdet_lite.utils.logger import get_logger
from ppdet_lite.weights.checkpoint import clean_temporaries, save_checkpoint
from ppdet_lite.weights.files import NAME_TABLE


@dataclass
class CheckpointWriter:
    """Writes the state of a run into its folder, on rank 0 only; `facts` (`class_names`,
    `category_ids`, `config`) go into the side file. `safetensors`: see `save_checkpoint`.
    `newest`: path without suffix of the run's newest checkpoint, at first that it was resumed from.
    """

    folder: str
    facts: dict
    safetensors: bool = False
    newest: str = ""
    _rescued: Optional[str] = None  # the folder of earlier rescues
    _told: tuple = ("", -1)  # the last name and iteration that the log has

    def save(self, state: TrainState, name: str) -> None:
        """Saves everything a resume needs; a CheckpointError if it cannot be written."""
        if state.ranks.rank == 0:
            contents = *self._for_use(state), state.state_dict()
            stem = save_checkpoint(self.folder, name, *contents, safetensors=self.safetensors)
            if self._told != (name, state.iteration):  # else the same with its evaluation
                get_logger().info("Saved %s", stem)
            self._told = name, state.iteration
        self.newest = os.path.join(self.folder, name)

    def newest_whole(self) -> Optional[str]:
        """The newest checkpoint of this run, without suffix; None if there is none."""
        return self.newest if self.newest and os.path.isfile(f"{self.newest}.pdparams") else None

    def save_or_rescue(self, state: TrainState, name: str) -> bool:
        """Same as `save`, but rescues a state that cannot be written, and returns False then."""
        try:
            self.save(state, name)
        except CheckpointError as error:
            get_logger().error("%s %s", error, self.rescue(state, f"{name}_rescued"))
            return False
        return True

    def rescue(self, state: TrainState, name: str = "model_rescued") -> str:
        """Writes the state where there is room for it, or else the bare weights, and returns a
        sentence about it. A folder of its own keeps the files from other users.
        """
        prefix = f"ppdet_lite_rescued_{os.path.basename(os.path.normpath(self.folder))}_"
        own = [self.folder, *filter(None, [self._rescued])]
        places = [*own[1:], tempfile.gettempdir(), os.path.expanduser("~")]
        contents, whole = self._for_use(state), state.state_dict()
        tries = [(place, whole) for place in places]
        # Another name than model_final: an earlier one stays whole, with its .pdopt.
        for place, resume in [*tries, *((place, None) for place in (self.folder, *places))]:
            folder = place
            try:
                if place not in own:
                    folder = tempfile.mkdtemp(prefix=prefix, dir=place)
                stem = save_checkpoint(folder, name, *contents, resume)
            except (OSError, CheckpointError):
                if folder != place:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            self._rescued = folder
            use = "" if resume is None else f"; to go on, resume from {stem}"
            return f"The trained weights were written to {stem}.pdparams instead{use}."
        return (
            f"The trained weights could not be written anywhere (tried {self.folder}, "
            f"{', '.join(places)}) and are lost; train the last epochs again from the newest "
            f"checkpoint in {self.folder}."
        )

    def _for_use(self, state: TrainState) -> tuple[dict, dict]:
        """Weights for use as arrays, with the names that `paddle.load` expects, and the content of
        the side file. Metrics that are not defined (no object of a size) become null.
        """
        weights: dict = {key: tensor.numpy() for key, tensor in state.weights_for_use().items()}
        weights[NAME_TABLE] = {key: value.name for key, value in state.model.state_dict().items()}
        latest = state.last_evaluation or {}
        if (metrics := latest.get("metrics")) is not None:
            metrics = {key: v if math.isfinite(v) else None for key, v in metrics.items()}
        evaluated = {"best": state.best, "metrics": metrics, "metrics_epoch": latest.get("epoch")}
        evaluated["thresholds"] = latest.get("thresholds")
        position = {"epoch": state.epoch, "iteration": state.iteration}
        return weights, {**self.facts, **position, "ema": state.ema is not None, **evaluated}


@dataclass
class CheckpointHook(Hook):
    """Saves `<epoch>` at snapshots, `model_final` at the end and `interrupted` on Ctrl-C.

    When a snapshot cannot be written the run goes on, and the next may succeed. When `model_final`
    cannot, its weights go to another place and the run ends with a `CheckpointError` that names it.
    """

    writer: CheckpointWriter
    snapshot_epoch: int
    _final: tuple = (-1, None)  # what `model_final` holds

    def before_train(self, run: Run) -> None:
        """Clears away what a killed run left half-written."""
        if run.state.ranks.rank == 0:
            for name in clean_temporaries(self.writer.folder):
                get_logger().info("Removed the unfinished %s/%s", self.writer.folder, name)

    def after_epoch(self, run: Run) -> None:
        """Saves before the evaluation hook runs, so nothing depends on it."""
        if not _is_snapshot(run, self.snapshot_epoch):
            return
        is_last = run.state.epoch + 1 == run.epochs
        name = "model_final" if is_last else str(run.state.epoch)
        try:
            self.writer.save(run.state, name)
        except CheckpointError as error:
            get_logger().error("%s The run goes on without %s.", error, name)
            return
        if is_last:
            self._final = _version(run.state)

    def after_train(self, run: Run) -> None:
        """Saves the result, if it is not there yet with the last evaluation in its side file."""
        if self._final == _version(run.state):
            return
        try:
            self.writer.save(run.state, "model_final")
        except CheckpointError as error:
            raise CheckpointError(f"{error} {self.writer.rescue(run.state)}") from None

    def on_interrupt(self, run: Run) -> None:
        """Saves the state of the last finished step."""
        if self.writer.save_or_rescue(run.state, "interrupted"):
            text = "Stopped at iteration %d. To go on, resume from %s/interrupted"
            get_logger().info(text, run.state.iteration, self.writer.folder)


@dataclass
class EvalHook(Hook):
    """Runs an evaluator on the weights for use (averaged with EMA) after every `snapshot_epoch`
    epochs and after the last; the larger its `primary`, the better the model.
    """

    evaluator: Evaluator
    snapshot_epoch: int

    def after_epoch(self, run: Run) -> None:
        """Evaluates; notes the metrics and, if it is one, the new best in the state."""
        state = run.state
        if not _is_snapshot(run, self.snapshot_epoch):
            return
        try:
            with state.evaluation_weights() as model:
                metrics = self.evaluator.run(model)
        except UserError as error:  # an unreadable image, a full disk: the training is still good
            get_logger().error("The run goes on without this evaluation: %s", error)
            return
        name, value = self.evaluator.primary
        numbers = {key: float(number) for key, number in metrics.items()}
        state.last_evaluation = {"epoch": state.epoch, "metrics": numbers}
        if state.ranks.rank == 0:  # which writes the checkpoints
            state.last_evaluation["thresholds"] = self.evaluator.best_thresholds()
        # Part of the checkpoint: a resumed run must not take its first evaluation for the best one.
        is_defined = math.isfinite(value) and value >= 0  # COCO's -1: no label to find
        if not is_defined:
            text = "%s is not defined, so the evaluation of epoch %d is no candidate for the best"
            get_logger().warning(text, name, state.epoch)
        if is_defined and (state.best is None or value > state.best["value"]):
            state.best = {"name": name, "value": float(value)}
            state.best.update(epoch=state.epoch, iteration=state.iteration)
        if state.best is not None:
            text = "best %s %.3f, of epoch %d"
            get_logger().info(text, state.best["name"], state.best["value"], state.best["epoch"])


@dataclass
class BestModelHook(Hook):
    """Saves `best_model` when the evaluation that just ran was the best so far."""

    writer: CheckpointWriter

    def after_epoch(self, run: Run) -> None:
        """The evaluation hook, called before, notes the best result in the state."""
        best = run.state.best
        if best is not None and best["iteration"] == run.state.iteration:
            self.writer.save_or_rescue(run.state, "best_model")


def _version(state: TrainState) -> tuple:
    """Equal for two states whose checkpoints would say the same."""
    return state.iteration, (state.last_evaluation or {}).get("epoch")


def _is_snapshot(run: Run, snapshot_epoch: int) -> bool:
    """True if the current epoch is followed by a checkpoint and an evaluation."""
    epoch = run.state.epoch + 1
    return epoch % snapshot_epoch == 0 or epoch == run.epochs
