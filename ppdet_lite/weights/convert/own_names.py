"""Files whose tensors have the names of this package and of PaddleDetection already."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ppdet_lite.weights.convert.converter import Converter
from ppdet_lite.weights.torch_file import read_tensors

_STATISTICS = ("_mean", "_variance")


class OwnNamesConverter(Converter):
    """`.safetensors` of a detector here or of its backbone, exchanged with other programs."""

    name = "ppdet"
    endings = (".safetensors",)
    project = "PaddleDetection"

    def read(self, path: Path) -> dict[str, np.ndarray]:
        return read_tensors(path)

    def fits(self, state: Mapping[str, np.ndarray]) -> bool:
        return any(key.rpartition(".")[2] in _STATISTICS for key in state)

    def convert(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(state)
