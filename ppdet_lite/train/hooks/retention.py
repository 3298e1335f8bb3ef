"""Removes old checkpoints, so that they do not fill the disk."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.train.hooks.base import Hook, Run
from ppdet_lite.utils.logger import get_logger
from ppdet_lite.weights.manifest import META, SUFFIXES, check_files

_SNAPSHOT = re.compile(rf"(\d+)({'|'.join(map(re.escape, SUFFIXES))})")


@dataclass
class RetentionHook(Hook):
    """Removes the checkpoints `<epoch>` of a run but the newest `count`, after a new one is whole.

    `best_model`, `model_final` and `interrupted` stay. So do the checkpoint that this process
    resumed from, and those of epochs that the run has not reached, which an earlier run has left.

    Attributes:
        folder: that of the checkpoints.
        count: number of checkpoints kept.
        resumed_from: path without suffix of the checkpoint that the run goes on from, or "".
    """

    folder: str
    count: int
    resumed_from: str = ""

    def after_epoch(self, run: Run) -> None:
        """The checkpoint hook, called before, may have written a new one."""
        if run.state.ranks.rank != 0:
            return
        epochs = [epoch for epoch in saved_epochs(self.folder) if epoch <= run.state.epoch]
        kept, old = epochs[: self.count], epochs[self.count :]
        old = [epoch for epoch in old if not self._is_resumed(epoch)]
        if not old or not any(map(self._is_whole, kept)):
            return
        for epoch in old:
            try:
                remove_checkpoint(self._stem(epoch))
            except OSError as error:
                get_logger().warning("cannot remove %s: %s", self._stem(epoch), error.strerror)

    def _stem(self, epoch: int) -> str:
        return os.path.join(self.folder, str(epoch))

    def _is_resumed(self, epoch: int) -> bool:
        stem = os.path.realpath(self._stem(epoch))
        return bool(self.resumed_from) and stem == os.path.realpath(self.resumed_from)

    def _is_whole(self, epoch: int) -> bool:
        try:
            check_files(self._stem(epoch))
        except CheckpointError as error:
            get_logger().warning("%s; older checkpoints are kept for now", error)
            return False
        return os.path.isfile(f"{self._stem(epoch)}{META}")


def saved_epochs(folder: str) -> list[int]:
    """The epochs whose checkpoints `<epoch>`, or files of them, lie in `folder`; newest first."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = {int(match[1]) for match in map(_SNAPSHOT.fullmatch, names) if match}
    return sorted(found, reverse=True)


def remove_checkpoint(stem: str) -> None:
    """Removes the files of a checkpoint, the side file first: what a kill leaves behind claims
    nothing about files that are gone, and the next call removes it.
    """
    for suffix in reversed(SUFFIXES):
        Path(stem + suffix).unlink(missing_ok=True)
