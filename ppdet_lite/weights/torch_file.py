"""The tensors of PyTorch's checkpoints, of `.safetensors` and of `.npz` files, without PyTorch and
without running anything that a file holds.

A checkpoint of PyTorch 1.6 or later is a zip archive: `data.pkl`, a pickle that describes the
tensors, and one member `data/N` with the numbers of each storage. The pickle is read by the machine
of `pickle_reader`, here with the names that describe tensors.
"""

import contextlib
import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
from numpy.lib import format as npy

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.weights.pickle_reader import STEPS, Machine, refusals
from ppdet_lite.weights.pickle_values import NAMES, Name, Refused
from ppdet_lite.weights.safetensors_file import read_safetensors

MOST_PICKLE = 64 << 20  # bytes of data.pkl: names and shapes, also of an optimizer's state
MOST_NUMBERS = 2 << 30  # bytes of all arrays of an .npz, which may be packed
_BIG_ENDIAN = b"big"

# bfloat16 as Paddle stores it, the upper half of a float32.
_STORAGES = {
    "Double": "f8",
    "Float": "f4",
    "Half": "f2",
    "BFloat16": "u2",
    "Long": "i8",
    "Int": "i4",
    "Short": "i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "b1",
}


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The state dict of a checkpoint of PyTorch, or the arrays of a `.safetensors` or an `.npz`.

    Of a checkpoint that holds more than a state dict, `model` or `state_dict` is read.

    Raises:
        CheckpointError: no such file, not such a file, a damaged one, or one that asks for anything
            else than tensors.
    """
    readers: dict[str, Callable[[Path], Any]] = {".npz": _read_numpy, ".safetensors": _read_safe}
    content = readers.get(path.suffix, _read_torch)(path)
    for wrapper in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    arrays = content.items() if isinstance(content, dict) else ()
    state = {str(key): array for key, array in arrays if isinstance(array, np.ndarray)}
    if not state:
        raise CheckpointError(f"{path}: holds no tensors")
    return state


def _read_safe(path: Path) -> dict[str, np.ndarray]:
    return read_safetensors(str(path))


def _read_numpy(path: Path) -> dict[str, np.ndarray]:
    with refusals(str(path), lambda: 0), _opened(path) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MOST_NUMBERS:
            raise Refused(f"more than {MOST_NUMBERS} bytes of arrays")
        return {member.filename[: -len(".npy")]: _array(archive, member) for member in members}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """An array of an `.npz`, whose header may promise no more than there is."""
    with archive.open(member) as stream:
        version = npy.read_magic(stream)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, is_fortran, dtype = read_header(stream)
        if dtype.hasobject or dtype.kind not in "biufc":
            raise Refused(f"an array of {dtype}")
        count = math.prod(shape) * dtype.itemsize
        if not 0 <= count <= member.file_size:
            raise EOFError(f"truncated: an array {list(shape)} in {member.file_size} bytes")
        data = bytearray(stream.read(count))
        if len(data) != count:
            raise EOFError("truncated")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")


def _read_torch(path: Path) -> Any:
    machine: Optional[TorchMachine] = None
    with refusals(str(path), lambda: machine.at if machine else 0), _opened(path) as archive:
        machine = TorchMachine(Archive(archive))
        return machine.run()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip archive; whatever is wrong with one is a ValueError."""
    with open(path, "rb") as stream:
        if stream.read(4) != b"PK\x03\x04":
            raise ValueError(
                "it is no zip archive; files of PyTorch before 1.6 can be saved anew with a later "
                "version"
            )
        try:
            with zipfile.ZipFile(stream) as archive:
                yield archive
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as error:
            raise ValueError(str(error)) from error


class Archive:
    """The members of a checkpoint below its only folder."""

    def __init__(self, archive: zipfile.ZipFile):
        self.archive = archive
        found = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(found) != 1:
            raise ValueError("it holds no data.pkl")
        self.folder = found[0][: -len("data.pkl")]
        if self.has("byteorder") and self.read("byteorder", 16).strip() == _BIG_ENDIAN:
            raise Refused("numbers of a big-endian machine")

    def has(self, name: str) -> bool:
        return f"{self.folder}{name}" in self.archive.namelist()

    def read(self, name: str, most: Optional[int] = None) -> bytes:
        """The content of a member, which PyTorch never compresses."""
        info = self.archive.getinfo(f"{self.folder}{name}")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise Refused("a compressed member")
        if most is not None and info.file_size > most:
            raise Refused(f"a {name} of {info.file_size} bytes")
        return self.archive.read(info)


class Storage:
    """The numbers of a storage [N], which several tensors may share."""

    __slots__ = ("numbers",)

    def __init__(self, numbers: np.ndarray):
        self.numbers = numbers


class TorchMachine(Machine):
    """The machine that reads data.pkl of an archive."""

    def __init__(self, archive: Archive):
        data = archive.read("data.pkl", MOST_PICKLE)
        super().__init__(io.BufferedReader(io.BytesIO(data)), len(data))
        self.archive = archive
        self.storages: dict[str, Storage] = {}

    def load_storage(self) -> None:
        """Replaces ("storage", type, key, device, count) by the storage."""
        found = self.stack.pop()
        if type(found) is not tuple or len(found) != 5 or found[0] != "storage":
            raise Refused("a reference to something outside of it")
        _, kind, key, _, count = found
        text = kind.text if isinstance(kind, Name) else ""
        code = _STORAGES.get(text[len("torch.") : -len("Storage")])
        if code is None or type(key) is not str or type(count) is not int:
            raise Refused(f"a storage of {text or 'no type'}")
        if key not in self.storages:
            raw = np.frombuffer(bytearray(self.archive.read(f"data/{key}")), np.uint8)
            self.storages[key] = Storage(raw.view(f"<{code}") if len(raw) else raw.astype(code))
        storage = self.storages[key]
        if storage.numbers.dtype != np.dtype(code) or len(storage.numbers) < count:
            raise ValueError(f"a storage of {len(storage.numbers)} numbers in the place of {count}")
        self.push(storage)

    def build(self) -> None:
        target, state = self.stack[-2:]
        if type(target) is dict and type(state) is dict and list(state) == ["_metadata"]:
            self.stack.pop()  # the versions of the layers, which a state dict carries along
            return
        super().build()


def _make_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """A tensor [*size] of its own memory, from the numbers of a storage."""
    if not isinstance(storage, Storage) or type(size) is not tuple or type(stride) is not tuple:
        raise ValueError("a tensor without numbers or a shape")
    counts = (offset, *size, *stride)
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in counts):
        raise ValueError("a tensor with sides that are no counts")
    numbers, width = storage.numbers, storage.numbers.itemsize
    if not math.prod(size):
        return np.zeros(size, numbers.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    if last >= len(numbers) or math.prod(size) > len(numbers):
        raise ValueError(f"a tensor {list(size)} beyond the {len(numbers)} numbers of its storage")
    strides = [step * width for step in stride]
    view = np.lib.stride_tricks.as_strided(numbers[offset:], size, strides, writeable=False)
    return view.copy()


def _make_parameter(tensor: Any, *_: Any) -> np.ndarray:
    if not isinstance(tensor, np.ndarray):
        raise Refused("a parameter without a tensor")
    return tensor


_TENSOR_NAMES: dict[str, Optional[Callable[..., Any]]] = {
    "torch._utils._rebuild_tensor_v2": _make_tensor,
    "torch._utils._rebuild_parameter": _make_parameter,
    **{f"torch.{name}Storage": None for name in _STORAGES},
}
TorchMachine.names = {**NAMES, **_TENSOR_NAMES}
TorchMachine.steps = {
    **STEPS,
    b"Q": TorchMachine.load_storage,
    b"b": TorchMachine.build,
}
