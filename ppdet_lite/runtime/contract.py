"""The folder of an exported model: which files there are, and what infer_cfg.yml says."""

from pathlib import Path
from typing import Optional, Sequence, Union

import numpy as np
import yaml

from ppdet_lite.core.errors import ConfigError, DataError, ImageError, UserError
from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.runtime.options import ENGINES
from ppdet_lite.utils.files import check_utf8

FORMAT_VERSION = 1
"""Highest format_version of infer_cfg.yml that this code knows, and the one that it writes."""

STAGES = ("raw", "decoded", "nms")
"""Where the graph ends: raw head outputs per level; boxes [N, M, 4] in pixels of the original
images and scores [N, C, M]; detections [D, 6] and counts [N].
"""

TARGETS = ("any", "cpu")
"""What an export is made for: any engine and device, or engines on a CPU, where the same network is
faster in another form (export/rewrite/cpu_forms.py). A network in which no layer gains is for
any."""

STRIDE = 32
"""Largest stride of the networks: the sides of their inputs are multiples of it."""

CONFIG_FILE = "infer_cfg.yml"
MODEL_NAME = "model"
GRAPH_FILE, LEGACY_GRAPH_FILE = f"{MODEL_NAME}.json", f"{MODEL_NAME}.pdmodel"
PARAMS_FILE = f"{MODEL_NAME}.pdiparams"
ONNX_FILE, PORTABLE_FILE = "model.onnx", "model_portable.onnx"
GRAPH_FILES = {
    "paddle": (GRAPH_FILE, LEGACY_GRAPH_FILE),
    "onnxruntime": (ONNX_FILE, PORTABLE_FILE),
    "openvino": (PORTABLE_FILE, ONNX_FILE),
}
"""Graph files by engine, the first that exists is taken. A portable .onnx holds no deformable
convolution, which OpenVINO cannot read."""

EXPORTED_FILES = (
    GRAPH_FILE,
    LEGACY_GRAPH_FILE,
    PARAMS_FILE,
    f"{PARAMS_FILE}.info",
    ONNX_FILE,
    PORTABLE_FILE,
    CONFIG_FILE,
)
"""What an export may consist of; anything else in its folder is the user's."""

_EXPORT_HINT = {
    "paddle": "tools/export_model.py writes one",
    "onnxruntime": "tools/export_model.py --format onnx writes one",
    "openvino": "tools/export_model.py --format onnx --portable-dcn writes one",
}


class ModelFolder:
    """The files that tools/export_model.py writes, and the content of infer_cfg.yml.

    Args:
        folder: written by tools/export_model.py.
        engine: "paddle", "onnxruntime" or "openvino", which read different files of it.
        input_size: [height, width] of the network input in place of infer_cfg.yml's, or one number
            for both; for exports that leave it open.

    Attributes:
        graph, params: files of the network; `params` is None for an .onnx, which holds its own.
        settings: infer_cfg.yml.
        preprocess: image to network input.
        class_names: by class index.
        category_ids: by class index, the category of the training data, which COCO results name;
            None where infer_cfg.yml has none.
        threshold: lowest score to draw unless another is asked for.
        input_hw: (height, width) of the network input; None where the export left it open.
        batch: the only number of images the graph takes at once; None where it takes any.

    Raises:
        UserError: there is no such engine.
        DataError: the folder or one of its files is missing, or its name is not UTF-8.
        ConfigError: infer_cfg.yml or `input_size` cannot be used.
    """

    def __init__(
        self,
        folder: Union[str, Path],
        engine: str = "paddle",
        input_size: Optional[Sequence[int]] = None,
    ):
        if engine not in ENGINES:
            raise UserError(f"--engine: found {engine}, allowed: {', '.join(ENGINES)}")
        self.path = Path(folder)
        check_utf8(f"--model_dir {self.path}", "the engines")
        if not self.path.is_dir():
            reason = "is a file, not a folder" if self.path.exists() else "no such folder"
            raise DataError(f"--model_dir {self.path}: {reason}")
        self.graph = self._find_graph(engine)
        self.params = self._existing(PARAMS_FILE) if engine == "paddle" else None
        self.settings = self._read_settings(self._existing(CONFIG_FILE))
        self.input_hw = self._input_hw()
        if input_size is not None:
            self._set_input_size(list(input_size))
        self.preprocess = self._preprocess()
        self.class_names = [str(name) for name in self.settings["label_list"]]
        self.category_ids = self._category_ids()
        self.threshold = self.settings.get("draw_threshold", 0.5)
        batch = self.settings.get("batch_size")
        self.batch = batch if isinstance(batch, int) and batch > 0 else None

    def _find_graph(self, engine: str) -> Path:
        wanted = GRAPH_FILES[engine]
        for name in wanted:
            if (self.path / name).is_file():
                return self.path / name
        hint = _EXPORT_HINT[engine]
        for other, names in GRAPH_FILES.items():
            found = next((name for name in names if (self.path / name).is_file()), None)
            if found and (engine == "paddle") != (other == "paddle"):
                hint += f"; it holds {found}, which --engine {other} runs"
                break
        raise DataError(
            f"--model_dir {self.path}: no {' and no '.join(wanted)} in this folder; {hint}"
        )

    def _existing(self, name: str) -> Path:
        path = self.path / name
        if not path.is_file():
            raise DataError(f"{path}: missing beside {self.graph.name}; export the model again")
        return path

    @staticmethod
    def _read_settings(path: Path) -> dict:
        try:
            settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path}: not a YAML file ({' '.join(str(error).split())})"
            ) from error
        for key in ("Preprocess", "label_list"):
            if not isinstance(settings, dict) or not isinstance(settings.get(key), list):
                raise ConfigError(f"{path}: the list '{key}' is missing; export the model again")
        for key, default in (("format_version", FORMAT_VERSION), ("draw_threshold", 0.5)):
            if not isinstance(settings.get(key, default), (int, float)):
                raise ConfigError(f"{path}: {key}: found {settings[key]!r}, allowed: a number")
        if not 0 <= settings.get("draw_threshold", 0.5) <= 1:
            raise ConfigError(
                f"{path}: draw_threshold: found {settings['draw_threshold']}, allowed: 0 to 1"
            )
        version = settings.get("format_version", FORMAT_VERSION)
        if version > FORMAT_VERSION:
            raise ConfigError(
                f"{path}: format_version {version}, but this script knows up to {FORMAT_VERSION}; "
                "use the deploy/python/infer.py of the ppdet_lite that exported it"
            )
        if settings.get("target", "any") not in TARGETS:
            raise ConfigError(
                f"{path}: target: found {settings['target']}, allowed: {', '.join(TARGETS)}"
            )
        return settings

    def _category_ids(self) -> Optional[list[int]]:
        ids, count = self.settings.get("category_ids"), len(self.class_names)
        if ids is None:
            return None
        are_ints = isinstance(ids, list) and all(type(number) is int for number in ids)
        if not are_ints or len(ids) != count:
            raise ConfigError(
                f"{self.path / CONFIG_FILE}: category_ids: found {ids!r}, allowed: {count} whole "
                "numbers, one for each entry of label_list"
            )
        return ids

    def _input_hw(self) -> Optional[tuple[int, int]]:
        shape = self.settings.get("image_shape")
        if isinstance(shape, list) and len(shape) == 3:
            height, width = shape[1:]
            is_fixed = all(isinstance(side, int) and side > 0 for side in (height, width))
            return (height, width) if is_fixed else None
        return None

    def _set_input_size(self, size: list[int]) -> None:
        """Into the entries of `Preprocess` that make it; their values are checked with them."""
        if self.input_hw is not None or not self.settings.get("use_dynamic_shape", True):
            raise ConfigError(
                f"--input_size: {self.graph} takes one size only, that of {CONFIG_FILE}; "
                "tools/export_model.py --input-size dynamic writes one that takes any"
            )
        if len(size) > 2 or any(side < 1 or side % STRIDE for side in size):
            raise ConfigError(
                f"--input_size: found {size}, allowed: height and width, multiples of {STRIDE}"
            )
        height_width = [size[0], size[-1]]
        for entry in self.settings["Preprocess"]:
            kind = entry.get("type") if isinstance(entry, dict) else None
            if kind in ("Resize", "Pad"):
                entry["target_size" if kind == "Resize" else "size"] = height_width

    def _preprocess(self) -> Preprocess:
        """From the list in infer_cfg.yml, if it gives what the graph takes."""
        path = self.path / CONFIG_FILE
        try:
            preprocess = Preprocess(self.settings["Preprocess"])
            if self.input_hw is None:
                check_open_size(preprocess)
            else:
                check_size(preprocess, self.input_hw)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}: the list 'Preprocess' cannot be used ({type(error).__name__}: {error}); "
                "export the model again"
            ) from error
        return preprocess


def check_open_size(preprocess: Preprocess) -> None:
    """A graph that takes any size takes multiples of its largest stride only, and fails deep inside
    for others.

    Raises:
        ConfigError: names the key that is to blame.
    """
    key, size = "Pad.size", None
    if preprocess.pad_args is not None:
        size = preprocess.pad_args[0]
    elif preprocess.resize_args is not None:
        key, size = "Resize.target_size", preprocess.resize_args[0]
        if preprocess.resize_args[1]:
            raise ConfigError(
                "Preprocess.Resize.keep_ratio: found true without Pad, allowed: false, or a Pad to "
                f"multiples of {STRIDE}"
            )
    if size is not None and any(side % STRIDE for side in size):
        raise ConfigError(
            f"Preprocess.{key}: found {list(size)}, allowed: multiples of {STRIDE}, the network's "
            "largest stride"
        )


def check_size(preprocess: Preprocess, input_hw: tuple[int, int]) -> None:
    """The graph takes one size only, and fails deep inside for any other: two images, a wide and
    a tall one, are prepared to see what they become.

    Raises:
        ConfigError: another size than `input_hw`; names the key that is to blame.
    """
    for shape in ((32, 64, 3), (64, 32, 3)):
        try:
            found = preprocess(np.zeros(shape, np.uint8))["image"].shape[1:]
        except ImageError:  # it does not fit into its padding
            found = None
        if found != input_hw:
            key, value, advice = _wrong_size(preprocess, input_hw)
            raise ConfigError(
                f"Preprocess.{key}: found {value}, allowed: {advice}, the size of the graph's "
                "input; for another size export the model again"
            )


def _wrong_size(preprocess: Preprocess, input_hw: tuple[int, int]) -> tuple:
    """Key, value and what is allowed for a list that gives another size than `input_hw`."""
    needed = list(input_hw)
    pad = None if preprocess.pad_args is None else list(preprocess.pad_args[0])
    if pad is not None and pad != needed:
        return "Pad.size", pad, needed
    if preprocess.resize_args is None:
        return "Resize", "none", f"a target_size of {needed}"
    target, keeps_ratio, _ = preprocess.resize_args
    if keeps_ratio and pad is None and list(target) == needed:
        return "Resize.keep_ratio", "true without Pad", f"false, or a Pad to {needed}"
    return "Resize.target_size", list(target), needed
