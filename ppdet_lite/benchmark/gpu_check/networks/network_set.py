"""A set of networks for a GPU check: exported folders, and the weights that they lack.

networks.json                           what there is
NETWORK/raw_b1/infer_cfg.yml            folders as tools/export_model.py writes them, by stage and
NETWORK/raw_b1/model.onnx               batch
OTHER/model.onnx                        other detectors

The large weights of a packed set are not in the files but drawn again on the machine (`skeleton`).
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from ppdet_lite.benchmark.against import GraphInput, OtherModel
from ppdet_lite.core.errors import DataError
from ppdet_lite.runtime.contract import INT8_FILES
from ppdet_lite.utils.files import write_json

MANIFEST = "networks.json"


class NetworkSet(NamedTuple):
    """The content of a folder.

    Attributes:
        networks: name -> facts: title, config and overrides, backbone as [class, depth], input_hw,
            batches, note.
        others: name -> `inputs`, as `GraphInput` has them, and `precision` of the file.
    """

    folder: Path
    networks: dict[str, dict[str, Any]]
    others: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> "NetworkSet":
        """Reads networks.json.

        Raises:
            DataError: it is not there, or not one of this program.
        """
        path = folder / MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(folder, content["networks"], content["others"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"`networks` {path}: found no set of networks ({error})") from error

    def write(self) -> None:
        """Writes networks.json."""
        write_json(self.folder / MANIFEST, {"networks": self.networks, "others": self.others})

    def export(self, network: str, stage: str, batch: int) -> Path:
        """The folder of an export, whether or not it is there."""
        return self.folder / network / f"{stage}_b{batch}"

    @property
    def has_int8(self) -> bool:
        """True if a network has an INT8 file for TensorRT."""
        return any(self.folder.glob(f"*/*/{INT8_FILES['tensorrt'][0]}"))

    def other(self, name: str) -> OtherModel:
        """Another detector."""
        inputs = [
            GraphInput(entry["name"], tuple(entry["shape"]), entry["dtype"])
            for entry in self.others[name]["inputs"]
        ]
        precision = self.others[name].get("precision", "fp32")
        return OtherModel(self.folder / name / "model.onnx", inputs, precision)
