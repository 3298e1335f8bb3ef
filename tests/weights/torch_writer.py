"""Checkpoints as PyTorch writes them since 1.6, without PyTorch."""

import pickle
import sys
import types
import zipfile
from unittest import mock

import numpy as np

KINDS = {"f4": "Float", "f2": "Half", "f8": "Double", "i8": "Long", "b1": "Bool"}


class Tensor:
    """What PyTorch would save of an array; the tensors of one base share its storage."""

    def __init__(self, base, shape, strides, offset=0):
        self.base, self.shape, self.strides, self.offset = base, shape, strides, offset

    @classmethod
    def of(cls, array):
        array = np.ascontiguousarray(array)
        steps = tuple(step // array.itemsize for step in array.strides)
        return cls(array.reshape(-1), array.shape, steps)


def write_torch(path, content, extra=(), compression=zipfile.ZIP_STORED):
    """Writes `content`, whose arrays are `Tensor`; `extra` are (name, bytes) of further members."""
    modules = {name: types.ModuleType(name) for name in ("torch", "torch._utils")}
    with mock.patch.dict(sys.modules, modules):
        rebuild = stub("torch._utils", "_rebuild_tensor_v2")
        kinds = {code: stub("torch", f"{name}Storage") for code, name in KINDS.items()}
        storages = {}

        class Pickler(pickle._Pickler):
            def persistent_id(self, value):
                if isinstance(value, np.ndarray):
                    key = storages.setdefault(id(value), (str(len(storages)), value))[0]
                    return ("storage", kinds[value.dtype.str[1:]], key, "cpu", value.size)
                return None

            def save(self, value, save_persistent_id=True):
                if isinstance(value, Tensor):
                    arguments = (value.base, value.offset, value.shape, value.strides, False, {})
                    return self.save_reduce(rebuild, arguments, obj=value)
                return super().save(value, save_persistent_id)

        with zipfile.ZipFile(path, "w", compression) as archive:
            with archive.open("archive/data.pkl", "w") as stream:
                Pickler(stream, protocol=2).dump(content)
            for key, array in storages.values():
                archive.writestr(f"archive/data/{key}", array.tobytes())
            for member, data in extra:
                archive.writestr(f"archive/{member}", data)
    return path


def stub(module, name):
    """A class that a pickle can name as `module.name`."""
    made = types.new_class(name)
    made.__module__, made.__qualname__ = module, name
    setattr(sys.modules[module], name, made)
    return made
