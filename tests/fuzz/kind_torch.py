"""Checkpoints of PyTorch and `.npz` files: bytes of the archive, opcodes of its pickle, members."""

import io
import pickletools
import random
import struct
import zipfile
from pathlib import Path

import numpy as np

from ppdet_lite.weights.torch_file import read_tensors
from tests.fuzz.harness import Trial
from tests.fuzz.kind_checkpoint import _SNIPPETS as PICKLE_SNIPPETS
from tests.fuzz.mutations import damage_bytes

LIMITS = (20, 205)  # what any of these small files may take
_MEMBERS: dict[str, bytes] = {}
_NPZ: list[bytes] = []


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _number(number: int) -> bytes:
    return b"K" + bytes([number]) if 0 <= number < 256 else b"J" + struct.pack("<i", number)


def _storage(kind: str, key: str, count: int) -> bytes:
    parts = _text("storage") + f"ctorch\n{kind}Storage\n".encode() + _text(key) + _text("cpu")
    return b"(" + parts + _number(count) + b"tQ"


def _tensor(storage: bytes, offset: int, size: tuple, stride: tuple) -> bytes:
    shape = (
        b"(" + b"".join(map(_number, size)) + b"t" + b"(" + b"".join(map(_number, stride)) + b"t"
    )
    call = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return call + storage + _number(offset) + shape + b"\x89ccollections\nOrderedDict\n)RtR"


_SNIPPETS = (
    *PICKLE_SNIPPETS,
    b"Q",
    *(_storage(kind, key, count) for kind in ("Float", "Half", "Quant") for key in ("0", "../1")
      for count in (12, 0, -1, 2**30)),
    *(_tensor(_storage("Float", "0", 12), offset, size, stride)
      for offset in (0, 13, -1) for size, stride in (((3, 4), (4, 1)), ((9, 9), (0, 0)),
                                                     ((2**30, 2**30), (1, 1)), ((2,), (-1,)))),
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nload\n", b"cposix\nsystem\n",
)  # fmt: skip


def prepare(folder: Path) -> None:
    """The members of a checkpoint, and an `.npz`."""
    first = _tensor(_storage("Float", "0", 12), 0, (3, 4), (4, 1))
    second = _tensor(_storage("Half", "1", 8), 2, (2, 3), (1, 2))
    pairs = _text("weight") + first + _text("bias") + second
    state = b"ccollections\nOrderedDict\n)R(" + pairs + b"u"
    state += b"}" + _text("_metadata") + b"}sb"
    _MEMBERS["data.pkl"] = b"\x80\x02}(" + _text("model") + state + _text("epoch") + b"K\x03u."
    _MEMBERS["data/0"] = np.arange(12, dtype=np.float32).tobytes()
    _MEMBERS["data/1"] = np.arange(8, dtype=np.float16).tobytes()
    _MEMBERS["byteorder"] = b"little"
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, weight=np.ones((3, 4), np.float32), count=np.int64(3))
        _NPZ.append(stream.getvalue())


def _archive(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"archive/{name}", data)
    return stream.getvalue()


def trial(rnd: random.Random, folder: Path) -> Trial:
    """An archive with damaged bytes, opcodes or members, or a damaged `.npz`."""
    kind, members = rnd.choice(["bytes", "opcodes", "members", "npz"]), dict(_MEMBERS)
    name = "damaged.npz" if kind == "npz" else "damaged.pth"
    if kind == "npz":
        data, label = damage_bytes(rnd, rnd.choice(_NPZ), _SNIPPETS)
    elif kind == "bytes":
        data, label = damage_bytes(rnd, _archive(members), _SNIPPETS)
    elif kind == "opcodes":
        made = bytearray(members["data.pkl"])
        starts = [at for _, _, at in pickletools.genops(bytes(made))]
        for at in sorted(rnd.sample(starts, rnd.choice([1, 1, 2, 4])), reverse=True):
            way = rnd.randrange(3)
            piece = rnd.choice(_SNIPPETS) if way else bytes([rnd.randrange(256)])
            made[at : at + (way != 1)] = piece
        data, label = _archive({**members, "data.pkl": bytes(made)}), "opcodes"
    else:
        chosen = rnd.choice(list(members))
        content = rnd.choice([b"", b"big", members[chosen][:5], members[chosen] * 3, None])
        if content is None:
            del members[chosen]
        else:
            members[chosen] = content
        pack = rnd.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
        data, label = _archive(members, pack), f"{chosen} {content!r:.20}"
    path = folder / name
    path.write_bytes(data)
    return Trial(f"{kind} {label}", lambda: read_tensors(path), (path.name,))
