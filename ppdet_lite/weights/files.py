"""Reads weight files without running anything that stands in them.

A `.pdparams` file is a Python pickle, and an ordinary unpickler executes what a pickle tells it to.
The one here only knows the handful of names that Paddle 2 and 3 write for numbers: numpy arrays,
dicts, tuples. Everything else in a file is refused by name.
"""

import collections
import os
import pickle
from typing import Any, Optional

import numpy as np

from ppdet_lite.core.errors import CheckpointError, require

SUFFIXES = (".pdparams", ".safetensors")
# What unpickling a file that was cut short or never was a pickle can raise.
_DAMAGE: tuple[type[Exception], ...] = (pickle.UnpicklingError, EOFError, ValueError, TypeError)
_DAMAGE += (LookupError, AttributeError, OverflowError, MemoryError)
NAME_TABLE = "StructuredToParameterName@@"
"""Key of the table from state-dict keys to parameter names that `paddle.load` expects."""
_CHUNK_TABLE = "UnpackBigParamInfor@@"
_SAFE_DTYPES = "biufcSUV"


class _Refused(pickle.UnpicklingError):
    """Names what a file asks for that is neither a number nor a container."""


def _safe_scalar(dtype: np.dtype, data: object = b"") -> np.generic:
    """numpy's scalar reconstruction for plain numbers; object scalars would be a pickle again."""
    if dtype.kind not in _SAFE_DTYPES or not isinstance(data, bytes):
        raise _Refused(f"a numpy scalar of type {dtype}")
    return np.frombuffer(data, dtype=dtype, count=1)[0]


def _safe_encode(text: object, encoding: str = "latin1", *_: object) -> bytes:
    """Protocol 2 stores bytes as text plus `_codecs.encode`."""
    return str(text).encode(encoding)


def _paddle_tensor(expression: object, names: object = None) -> Any:
    """Paddle writes a dense tensor as eval("data", {"data": array}); nothing is evaluated here."""
    if expression != "data" or not isinstance(names, dict) or set(names) != {"data"}:
        raise _Refused("a call of eval")
    return names["data"]


_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): _safe_encode,
    ("builtins", "eval"): _paddle_tensor,
    **{
        (f"numpy.{core}.multiarray", name): what
        for core in ("core", "_core")
        for name, what in (("_reconstruct", _RECONSTRUCT), ("scalar", _safe_scalar))
    },
    **{
        ("builtins", kind.__name__): kind
        for kind in (tuple, list, dict, set, frozenset, int, float, complex, bool, bytearray, slice)
    },
}
_ALLOWED.update(
    {("__builtin__", name): v for (mod, name), v in _ALLOWED.items() if mod == "builtins"}
)


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[(module, name)]
        raise _Refused(f"the name {module}.{name}")


def read_pickle(path: str) -> Any:
    """Unpickles plain numbers and containers; nothing in the file is executed.

    Raises:
        CheckpointError: no such file, not a pickle, cut short, or it asks for anything else.
    """
    try:
        with open(path, "rb") as stream:
            return _RestrictedUnpickler(stream, encoding="latin1").load()
    except FileNotFoundError:
        raise CheckpointError(f"no such file: {path}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    except _Refused as error:
        raise CheckpointError(
            f"{path}: refused: it holds {error} where only arrays belong. Weights are read without "
            f"running code; convert the file to .safetensors if you trust where it comes from."
        ) from None
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path}: damaged or not a weight file ({type(error).__name__}: {error}). If it was "
            f"downloaded or copied, fetch it again."
        ) from None


def _find_weight_file(path: str) -> str:
    """`path` itself or with one of the known suffixes."""
    path = os.path.expanduser(str(path))
    candidates = [path] if path.endswith(SUFFIXES) else [path + suffix for suffix in SUFFIXES]
    for candidate in [path, *candidates]:
        if os.path.isfile(candidate):
            return candidate
    folder = path if os.path.isdir(path) else os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise CheckpointError(f"no weights at {path}: there is no folder {folder}")
    present = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIXES))
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
    path = _find_weight_file(path)
    if path.endswith(".safetensors"):
        return _read_safetensors(path)
    content = read_pickle(path)
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


def _join_chunks(content: dict, path: str) -> dict:
    """Arrays above 1 GiB are stored in pieces by pickle protocols 2 and 3; puts them together."""
    table = content.pop(_CHUNK_TABLE, None) or {}
    for key, facts in table.items():
        try:
            pieces = [content.pop(name) for name in facts["slices"]]
            content[key] = np.concatenate(pieces).reshape(facts["OriginShape"])
        except (KeyError, ValueError, TypeError) as error:
            raise CheckpointError(f"{path}: the pieces of {key} do not fit: {error}") from None
    return content


def _read_safetensors(path: str) -> dict:
    needed_for = f"{path}: reading a .safetensors file"
    safetensors = require("safetensors", needed_for, "safetensors", error=CheckpointError)
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except (safetensors.SafetensorError, OSError, KeyError) as error:
        raise CheckpointError(f"{path}: damaged or not a safetensors file: {error}") from None
