"""Checkpoints and weight files of Paddle: bytes, opcodes, programs of the pickle machine, and the
side file.
"""

import json
import pickle
import pickletools
import random
import struct
from pathlib import Path

import numpy as np

from ppdet_lite.weights.checkpoint import load_resume, read_meta, save_checkpoint
from ppdet_lite.weights.files import load_state
from tests.fuzz.harness import Trial
from tests.fuzz.mutations import damage_bytes, damage_value

LIMITS = (20, 205)  # what any of these small files may take
_FILES: list[bytes] = []
_CHECKPOINT: dict[str, bytes] = {}


class _Call:
    """Pickled as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def _content() -> dict:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    pieces = {"OriginShape": (2, 12), "slices": ["big", "big@@.1"]}
    return {
        "conv.weight": array,
        "conv.bias": array.transpose(),
        "mean": _Call(tuple, ("mean_0", np.zeros(0))),
        "dense": _Call(eval, "data", {"data": np.float16([1, 2])}),
        "count": np.int64(3),
        "one": np.array(1.5),
        "mask": np.array([True, False]),
        "big": np.zeros(14, np.uint16),
        "big@@.1": np.ones(10, np.uint16),
        "UnpackBigParamInfor@@": {"big": pieces},
        "StructuredToParameterName@@": {"conv.weight": "conv_0.w_0"},
        "rest": [1, -70000, 2**40, 0.5, None, True, "text" * 20, {"a": (1, 2, 3, 4)}],
    }


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


_SNIPPETS = (
    *(bytes([code]) for code in b")]}(tuseabR0.N\x85\x86\x87\x88\x91\x93\x94\x81"),
    *(b"c" + name + b"\n" for name in (b"builtins\nlist", b"builtins\nbytearray", b"os\nsystem")),
    *(b"cnumpy\n" + name + b"\n" for name in (b"ndarray", b"dtype")),
    *(b"cnumpy.core.multiarray\n" + name + b"\n" for name in (b"_reconstruct", b"scalar")),
    *(b"cbuiltins\n" + name + b"\n" for name in (b"tuple", b"eval", b"bytes", b"dict")),
    *(b"ccollections\nOrderedDict\n", b"c_codecs\nencode\n", b"cnumpy.core.numeric\n_frombuffer\n"),
    *(_text(text) for text in ("f4", "O8", "<", "latin1", "data", "C", "F", "é\U0001f600" * 999)),
    *(b"K" + bytes([number]) for number in (0, 1, 4, 255)),
    *(b"J" + struct.pack("<i", number) for number in (-1, 2**31 - 1, 2**20)),
    *(b"h" + bytes([number]) + b"q" + bytes([number + 1]) for number in range(5)),
    *(b"q\0h\0", b"r\xff\xff\xff\x0f", b"B\xff\xff\xff\x7f", b"\x8e" + bytes(7) + b"\x7f"),
    *(b"B\x08\0\0\0" + b"A" * 8, b"C\x04abcd", b"\x8a\x09" + b"\x7f" * 9, b"\x95" + b"\xff" * 8),
    *(b")" + b"\x85" * 60_000, b"]" * 60_000, b"](h\0h\0e", b"G" + b"\xff" * 8),
)


def prepare(folder: Path) -> None:
    """Files of all protocols, as numpy 1 and 2 name their functions."""
    for protocol in (2, 3, 4, 5):
        whole = pickle.dumps(_content(), protocol=protocol)
        _FILES.append(whole)
        if protocol < 4:
            _FILES.append(whole.replace(b"numpy._core", b"numpy.core"))
    meta = {"class_names": ["a", "b"], "category_ids": [1, 2], "epoch": 3, "iteration": 9}
    state = {"model": {"w": np.ones(3)}, "progress": {"epoch": 3, "best": None}}
    stem = save_checkpoint(str(folder), "whole", {"w": np.ones(3)}, meta, state, safetensors=True)
    for suffix in (".pdparams", ".safetensors", ".pdopt", ".meta.json"):
        _CHECKPOINT[suffix] = Path(stem + suffix).read_bytes()


def trial(rnd: random.Random, folder: Path) -> Trial:
    """A file with damaged bytes, opcodes or values, a program of random steps, or a checkpoint with
    a damaged file.
    """
    kinds = ["bytes", "opcodes", "values", "program", "checkpoint"]
    kind, data = rnd.choice(kinds), rnd.choice(_FILES)
    if kind == "checkpoint":
        return _damaged_checkpoint(rnd, folder)
    if kind == "bytes":
        data, label = damage_bytes(rnd, data, _SNIPPETS)
    elif kind == "opcodes":
        starts = [at for _, _, at in pickletools.genops(data)]
        made = bytearray(data)
        for at in sorted(rnd.sample(starts, rnd.choice([1, 1, 2, 4])), reverse=True):
            way = rnd.randrange(3)
            piece = rnd.choice(_SNIPPETS) if way else bytes([rnd.randrange(256)])
            made[at : at + (way != 1)] = piece
        data, label = bytes(made), "opcodes"
    elif kind == "values":
        content, label = damage_value(rnd, {"w": np.ones(3), **_content()})
        try:
            data = pickle.dumps(content, protocol=rnd.randrange(6))
        except (ValueError, TypeError, UnicodeEncodeError) as error:
            data, label = pickle.dumps({}), f"{label}: {error}"
    else:
        steps = rnd.choices(_SNIPPETS, k=rnd.choice([3, 10, 40]))
        data, label = b"\x80\x04" + b"".join(steps) * rnd.choice([1, 1, 50]) + b".", "program"
    path = folder / "damaged.pdparams"
    path.write_bytes(data)
    return Trial(f"{kind} {label}", lambda: load_state(str(path)), (path.name,))


def _damaged_checkpoint(rnd: random.Random, folder: Path) -> Trial:
    damaged = rnd.choice([*_CHECKPOINT, ".meta.json"])
    for suffix, data in _CHECKPOINT.items():
        (folder / f"whole{suffix}").write_bytes(data)
    if damaged == ".meta.json" and rnd.random() < 0.7:
        meta = json.loads(_CHECKPOINT[damaged])
        meta.pop("sha256")
        content, label = damage_value(rnd, meta)
        data = json.dumps(content).encode()
    else:
        data, label = damage_bytes(rnd, _CHECKPOINT[damaged], (b"[" * 60_000, b"9" * 5000))
    (folder / f"whole{damaged}").write_bytes(data)

    def load() -> None:
        whole = str(folder / "whole")
        for path in (whole, f"{whole}.safetensors"):
            assert load_state(path)["w"].tolist() == [1, 1, 1]
        assert load_resume(whole)["progress"]["epoch"] == 3
        read_meta(whole)

    return Trial(f"{damaged} {label}", load, (f"whole{damaged}",))
