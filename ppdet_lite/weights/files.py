"""The tensors of weight files: `.pdparams` of Paddle and `.safetensors`."""

import os
from typing import Any, Optional

import numpy as np

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.weights.manifest import WEIGHTS, find_file
from ppdet_lite.weights.pickle_reader import read_pickle
from ppdet_lite.weights.safetensors_file import read_safetensors

NAME_TABLE = "StructuredToParameterName@@"
"""Key of the table from state-dict keys to parameter names that `paddle.load` expects."""
_CHUNK_TABLE = "UnpackBigParamInfor@@"


def _candidates(path: str) -> list[str]:
    return [path] if path.endswith(WEIGHTS) else [path, *(path + suffix for suffix in WEIGHTS)]


def has_weight_file(path: str) -> bool:
    """True if there is a file of this name, with or without one of the known suffixes.

    Raises:
        CheckpointError: there is one, and it is damaged.
    """
    return any(map(find_file, _candidates(os.path.expanduser(path))))


def find_weight_file(path: str) -> tuple[str, str]:
    """`path` itself or with one of the known suffixes, and the place to read it from.

    Raises:
        CheckpointError: no such file (the message lists what the folder holds), or a damaged one.
    """
    path = os.path.expanduser(path)
    candidates = _candidates(path)
    for candidate in candidates:
        if place := find_file(candidate):
            return candidate, place
    folder = path if os.path.isdir(path) else os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise CheckpointError(f"no weights at {path}: there is no folder {folder}")
    present = sorted(name for name in os.listdir(folder) if name.endswith(WEIGHTS))
    listed = ", ".join(present[:8]) + (", ..." if len(present) > 8 else "")
    raise CheckpointError(
        f"no weights at {path} (tried {', '.join(candidates)}); "
        + (f"the folder holds {listed}" if present else f"the folder {folder} holds none")
    )


def load_state(path: str) -> dict[str, np.ndarray]:
    """The state dict of a `.pdparams` or `.safetensors` file, the suffix may be left out.

    Returns:
        key -> array, in the order of the file. bfloat16 stays as Paddle stores it (uint16).

    Raises:
        CheckpointError: no such file (the message lists what the folder holds), a damaged one, one
            that holds anything but numbers, or one without tensors.
    """
    path, place = find_weight_file(str(path))
    return read_weights(place, path.endswith(".safetensors"))


def read_weights(path: str, is_safetensors: bool) -> dict[str, np.ndarray]:
    """The state dict of a file of any name; see `load_state`."""
    content: Any = read_safetensors(path) if is_safetensors else read_pickle(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a state dict")
    for wrapper in ("model", "state_dict"):  # files of other tools: one level further in
        if isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    content = _join_chunks(dict(content), path)
    content.pop(NAME_TABLE, None)
    arrays = ((str(key), _as_array(value)) for key, value in content.items())
    state = {key: array for key, array in arrays if array is not None}
    if not state:
        raise CheckpointError(f"{path}: holds no tensors")
    return state


def _as_array(value: Any) -> Optional[np.ndarray]:
    """A tensor as an array, None for anything else. Paddle writes tensors as (name, array) too."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], np.ndarray):
        value = value[1]
    if isinstance(value, (np.ndarray, np.generic)) and np.asarray(value).dtype.kind in "biufc":
        return np.asarray(value)
    return None


def as_float32(array: np.ndarray) -> np.ndarray:
    """Half precision widened; Paddle stores bfloat16 as the uint16 with the same bits."""
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _join_chunks(content: dict, path: str) -> dict:
    """Arrays above 1 GiB are stored in pieces by pickle protocols 2 and 3; puts them together."""
    table, left = content.pop(_CHUNK_TABLE, {}), os.path.getsize(path)
    if not isinstance(table, dict):
        found = type(table).__name__
        raise CheckpointError(f"{path}: {_CHUNK_TABLE}: found a {found}, allowed: a dict of pieces")
    for key, facts in table.items():
        try:
            pieces = [content.pop(name) for name in facts["slices"]]
            if len({(piece.dtype, piece.ndim) for piece in pieces}) != 1:
                raise ValueError("they are of several types")
            left -= sum(piece.nbytes for piece in pieces)
            if left < 0:
                raise ValueError("they are larger than the file")
            content[key] = np.concatenate(pieces).reshape(facts["OriginShape"])
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            text = f"{path}: {_CHUNK_TABLE}: the pieces of {key!r:.100} do not fit: {error}"
            raise CheckpointError(text) from None
    return content
