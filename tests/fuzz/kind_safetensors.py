"""Files of safetensors: bytes and headers."""

import io
import json
import random
from pathlib import Path

import numpy as np

from ppdet_lite.weights.files import load_state
from ppdet_lite.weights.safetensors_file import write_safetensors
from tests.fuzz.harness import Trial
from tests.fuzz.mutations import damage_bytes, damage_value

LIMITS = (20, 205)
_WHOLE = io.BytesIO()


def prepare(folder: Path) -> None:
    """A small file with several types."""
    arrays = {"w": np.ones((2, 3), np.float32), "n": np.array(3), "mask": np.ones(3, bool)}
    write_safetensors(_WHOLE, {**arrays, "none": np.zeros((0, 4), np.float16)})


def trial(rnd: random.Random, folder: Path) -> Trial:
    """A file with damaged bytes or a damaged header."""
    data = _WHOLE.getvalue()
    if rnd.random() < 0.4:
        data, label = damage_bytes(rnd, data, (b"[" * 60_000, b'{"w":', b"\xff" * 8))
    else:
        length = int.from_bytes(data[:8], "little")
        header, label = damage_value(rnd, json.loads(data[8 : 8 + length]))
        text = json.dumps(header).encode()
        data = len(text).to_bytes(8, "little") + text + data[8 + length :]
    path = folder / "damaged.safetensors"
    path.write_bytes(data)
    return Trial(label, lambda: load_state(str(path)), (path.name,))
