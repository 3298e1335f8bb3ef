"""Puts the tensors of a weight file into a model and says what fitted.

Suffix rule: a model key K takes the file key W when K == W or K ends with "." + W; the longest W
wins. So a backbone file, whose keys do not start with `backbone.`, fits the detector as it is.
"""

from typing import Callable, Iterable, NamedTuple

import numpy as np
import paddle

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.weights.files import as_float32, load_state

_NAMES_SHOWN = 4


class LoadReport(NamedTuple):
    """Outcome of loading a file into a model."""

    path: str
    matched: list[str]  # model keys that were set
    missing: list[str]  # model keys that the file has nothing for
    unexpected: list[str]  # file keys that no model key takes
    mismatched: list[tuple[str, list[int], list[int]]]  # model key, shape in the file, in the model

    def lines(self) -> list[str]:
        """The report for people, one entry per line."""
        count, total = len(self.matched), len(self.matched + self.missing) + len(self.mismatched)
        lines = [f"Weights {self.path}: {count} of the model's {total} tensors loaded"]
        shapes = [f"{key} {was} in the file, {now} here" for key, was, now in self.mismatched]
        for names, problem in (
            (self.missing, "not in the file, left as they were"),
            (self.unexpected, "in the file that the model does not have"),
            (shapes, "of another shape, left as they were"),
        ):
            if names:
                lines.append(f"  {len(names)} {problem}: {_some(names)}")
        if shapes and all("head" in key for key, _, _ in self.mismatched):
            lines.append(
                "  The file was made for another number of classes, or another iou_aware: the "
                "last layers start anew."
            )
        return lines


def _some(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def match_keys(
    model_keys: Iterable[str],
    file_keys: Iterable[str],
    fits: Callable[[str, str], bool] = lambda key, source: True,
) -> dict[str, str]:
    """Model key -> file key by the suffix rule. Where several model keys end with one file key,
    those whose shape does not fit (`fits(model key, file key)` is false) step back.

    Raises:
        CheckpointError: one file key would fill two model keys.
    """
    available = set(file_keys)
    takers: dict[str, list[str]] = {}
    for key in model_keys:
        parts = key.split(".")
        suffixes = (".".join(parts[start:]) for start in range(len(parts)))
        source = next((suffix for suffix in suffixes if suffix in available), None)
        if source is not None:
            takers.setdefault(source, []).append(key)
    matches: dict[str, str] = {}
    for source, keys in takers.items():
        if source in keys:  # the exact owner keeps it
            keys = [source]
        fitting = [key for key in keys if fits(key, source)]
        if len(fitting) > 1:
            raise CheckpointError(
                f"the tensor {source} of the weight file fits two of the model: {fitting[0]} and "
                f"{fitting[1]}"
            )
        matches.update((key, source) for key in fitting or keys)
    return matches


@paddle.no_grad()
def load_weights(
    model: paddle.nn.Layer, path: str, *, allow_partial: bool = False, part_of_model: bool = False
) -> LoadReport:
    """Sets the model's tensors from a `.pdparams` or `.safetensors` file; those that do not fit
    keep their values. Printing the report is up to the caller.

    Args:
        path: the file, with or without suffix.
        allow_partial: accept a file that fits badly.
        part_of_model: the file may hold a part of the model only, such as a pretrained backbone:
            then it is enough that half of the *file* is used.

    Raises:
        CheckpointError: the file cannot be read, less than half of the model was matched (with
            `part_of_model`: and less than half of the file was used), or the file holds NaN or
            infinite values. The model is as it was then.
    """
    state = load_state(path)
    targets = model.state_dict()

    def fits(key: str, source: str) -> bool:
        return list(state[source].shape) == list(targets[key].shape)

    matches = match_keys(targets, state, fits)
    matched = [key for key, source in matches.items() if fits(key, source)]
    used = set(matches.values())
    missing = [key for key in targets if key not in matches]
    unexpected = [key for key in state if key not in used]
    mismatched = [
        (key, list(state[source].shape), list(targets[key].shape))
        for key, source in matches.items()
        if not fits(key, source)
    ]
    report = LoadReport(str(path), matched, missing, unexpected, mismatched)
    left_over = min(len(missing), len(unexpected)) if part_of_model else len(missing)
    enough = matched and len(matched) >= left_over + len(mismatched)
    if not enough and not allow_partial:
        raise CheckpointError(
            "\n".join(report.lines())
            + "\nThat is less than half of the model, so the file most likely belongs to another "
            "one. allow_partial_weights=true takes it all the same."
        )
    arrays = {key: as_float32(state[matches[key]]) for key in matched}
    # A network with such weights finds nothing or anything, without any other sign of it.
    if bad := [key for key, array in arrays.items() if not np.isfinite(array).all()]:
        raise CheckpointError(
            f"{path}: {len(bad)} of its tensors hold NaN or infinite values ({_some(bad)}). The "
            "training that wrote it had diverged; use an earlier checkpoint, or train with a lower "
            "learning rate."
        )
    for key, array in arrays.items():
        targets[key].set_value(paddle.to_tensor(array).astype(targets[key].dtype))
    return report
