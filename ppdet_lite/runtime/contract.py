"""The folder of an exported model: its files and the content of infer_cfg.yml."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Optional, Sequence, Union

import yaml

from ppdet_lite.core.annotations import Count, Probability, Rule, describe, matches, shown
from ppdet_lite.core.errors import ConfigError, DataError, UserError
from ppdet_lite.core.yaml import read_yaml
from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.runtime.input_size import STRIDE, check_size
from ppdet_lite.runtime.options import GPU_ENGINES, PRECISIONS
from ppdet_lite.utils.files import check_utf8, sha256_of

FORMAT_VERSION = 1
"""format_version of infer_cfg.yml that is written, and the highest that is read."""

STAGES = ("raw", "decoded", "nms", "nms_fixed")
"""Ends of the graph: raw head outputs per level; boxes [N, M, 4] in pixels of the original
images and scores [N, C, M]; detections [D, 6] and counts [N]; the same detections as
[N, keep_top_k, 6], filled up with rows of class -1 and score 0, and counts [N]."""

FINAL_STAGES = STAGES[2:]
"""Those that give detections."""

TARGETS = ("any", "cpu")
"""Purposes of an export: any engine and device, or CPUs (export/rewrite/cpu_forms.py)."""

MOST_BATCH = 1024
"""Largest batch of a network."""

CONFIG_FILE = "infer_cfg.yml"
MODEL_NAME = "model"
GRAPH_FILE, LEGACY_GRAPH_FILE = f"{MODEL_NAME}.json", f"{MODEL_NAME}.pdmodel"
PARAMS_FILE = f"{MODEL_NAME}.pdiparams"
ONNX_FILE, PORTABLE_FILE = "model.onnx", "model_portable.onnx"
TENSORRT_FILE = "tensorrt.json"
"""Settings of TensorRT in Paddle, for deploy/cpp (runtime/engines/tensorrt.py writes them)."""
HALF_FILES = {
    ONNX_FILE: "model_fp16.onnx",
    PORTABLE_FILE: "model_portable_fp16.onnx",
}
"""The float16 file beside a file of float32, with the same inputs and outputs."""
INT8_FILES = {
    "onnxruntime": ("model_int8.onnx",),
    "openvino": ("model_int8.xml", "model_int8.bin"),
    "tensorrt": ("model_tensorrt_int8.onnx",),
}
"""The files in INT8 by engine, as `ppdet quantize` writes them, with the same inputs and outputs as
those of float32: the graph, and its weights if they have a file of their own. TensorRT's is that of
all GPU_ENGINES."""

GRAPH_FILES = {
    "paddle": (GRAPH_FILE, LEGACY_GRAPH_FILE),
    "onnxruntime": (ONNX_FILE, PORTABLE_FILE),
    "openvino": (PORTABLE_FILE, ONNX_FILE),
    "tensorrt": (PORTABLE_FILE, ONNX_FILE),
    "tensorrt_rtx": (PORTABLE_FILE, ONNX_FILE),
}
"""Graph files by engine, the first that exists is taken. A portable .onnx holds no deformable
convolution, which OpenVINO and TensorRT cannot read."""

_FORMATS = {
    "paddle": "",
    "onnxruntime": " in the format onnx",
    "openvino": " in the format onnx with portable-dcn",
    "tensorrt": " in the format onnx with portable-dcn",
    "tensorrt_rtx": " in the format onnx with portable-dcn",
}


@dataclass(frozen=True)
class InferConfig:
    """The content of infer_cfg.yml: PaddleDetection's keys, then this project's own.

    Attributes:
        preprocess: `Preprocess`, the steps from an image to the network's input.
        class_names: `label_list`, by class index.
        draw_threshold: default of the lowest score to draw.
        use_dynamic_shape: False where the graph takes one input size only; used without `input_hw`.
        min_subgraph_size: TensorRT leaves smaller groups of operators to Paddle.
        stage, target: one of STAGES and one of TARGETS.
        input_hw: (height, width) of the network input; None where it is open, or not known.
        batch: the only number of images that the graph takes at once; None where it takes any.
        category_ids: by class index, the category of the training data, for COCO results.
        thresholds: by class index, the score with the best F1 in the evaluation of the weights.
        files: by name, `size` in bytes and `sha256` of the files beside infer_cfg.yml; files that
            are not listed (PaddleDetection's folders list none) are not compared.
        fp16: of the files in float16, `calibration`, the images on which overflow was looked for,
            and `float32_layers`, the layers that stay in float32 for their values, with the reason.
        int8: by engine of INT8_FILES, the same of its files in INT8, and what wrote them.
    """

    preprocess: list[dict[str, Any]]
    class_names: list[str]
    draw_threshold: float = 0.5
    metric: Optional[str] = None
    use_dynamic_shape: bool = True
    arch: Optional[str] = None
    min_subgraph_size: int = 3
    model_name: Optional[str] = None
    stage: str = "nms"
    target: str = "any"
    input_hw: Optional[tuple[int, int]] = None
    batch: Optional[int] = None
    nms: dict[str, Any] = field(default_factory=dict)
    decode: dict[str, Any] = field(default_factory=dict)
    paddle_version: Optional[str] = None
    category_ids: Optional[list[int]] = None
    thresholds: Optional[list[float]] = None
    onnx_opset: Optional[int] = None
    fp16: Optional[dict[str, Any]] = None
    int8: Optional[dict[str, Any]] = None
    files: Optional[dict[str, dict[str, Any]]] = None

    @property
    def takes_any_size(self) -> bool:
        """True where the graph takes any height and width that are multiples of STRIDE."""
        return self.input_hw is None and self.use_dynamic_shape

    def content(self) -> dict[str, Any]:
        """Keys and values in the order of the file; -1 stands for any."""
        given = {
            "mode": "paddle",
            "use_dynamic_shape": self.takes_any_size,
            "format_version": FORMAT_VERSION,
            "image_shape": [3, *(self.input_hw or (-1, -1))],
            "batch_size": self.batch or -1,
        }
        for key in _KEYS.keys() - given.keys():
            given[key] = getattr(self, _NAMES.get(key, key))
        optional = ("category_ids", "thresholds", "onnx_opset", "fp16", "int8", "files")
        return {key: given[key] for key in _KEYS if key not in optional or given[key] is not None}

    def with_files(self, folder: Union[str, Path]) -> "InferConfig":
        """The same with the sizes and checksums of all files of a folder but infer_cfg.yml."""
        return replace(
            self,
            files={
                path.name: {"size": path.stat().st_size, "sha256": sha256_of(path)}
                for path in sorted(Path(folder).iterdir())
                if path.is_file() and path.name != CONFIG_FILE
            },
        )

    def check_file(self, path: Path) -> None:
        """Refuses, with a DataError, a file that is not the one that `files` describes."""
        expected = (self.files or {}).get(path.name)
        if expected is None:
            return
        size = path.stat().st_size
        if size != expected["size"]:
            found, allowed = f"{size} bytes", f"{expected['size']} bytes"
        elif (digest := sha256_of(path)) != expected["sha256"]:
            found, allowed = f"SHA-256 {digest[:12]}...", f"{expected['sha256'][:12]}..."
        else:
            return
        raise DataError(
            f"{path}: found {found}, allowed: {allowed} ({CONFIG_FILE}, files.{path.name}); the "
            "file is damaged or from another export: copy the whole folder or export again"
        )

    def write(self, path: Union[str, Path]) -> None:
        text = yaml.safe_dump(
            self.content(), sort_keys=False, allow_unicode=True, default_flow_style=None
        )
        Path(path).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, path: Union[str, Path]) -> "InferConfig":
        """The content of a file. Keys that PaddleDetection does not write get defaults.

        Raises:
            ConfigError: it cannot be read, or a key is missing or has a value that cannot be used.
        """
        settings = read_yaml(Path(path), text_keys=["label_list"]).value
        for key in ("Preprocess", "label_list"):
            if not isinstance(settings, dict) or not isinstance(settings.get(key), list):
                raise ConfigError(f"{path}: the list '{key}' is missing; export the model again")
        settings = {key: value for key, value in settings.items() if key in _KEYS}
        for index, name in enumerate(names := settings["label_list"]):
            if not isinstance(name, str):
                found = f"found {shown(name)}, allowed: text"
                raise ConfigError(f"{path}: label_list.{index}: {found}")
        for key, value in settings.items():
            allowed = describe(_KEYS[key])
            is_right = matches(value, _KEYS[key])
            if key in ("category_ids", "thresholds") and value is not None:
                kind = "whole numbers" if key == "category_ids" else "scores from 0 to 1"
                allowed = f"{len(names)} {kind}, one for each entry of label_list"
                is_right = is_right and len(value) == len(names)
            if not is_right:
                raise ConfigError(f"{path}: {key}: found {shown(value)}, allowed: {allowed}")
        height, width = (settings.pop("image_shape", None) or [3, -1, -1])[1:]
        size = (height, width) if min(height, width) > 0 else None
        batch = settings.pop("batch_size", None)
        if (version := settings.pop("format_version", 1)) > FORMAT_VERSION:
            raise ConfigError(
                f"{path}: format_version {version}, but this script knows up to {FORMAT_VERSION}; "
                "use the deploy/python/infer.py of the ppdet_lite that exported it"
            )
        settings.pop("mode", None)
        given = {key: value for key, value in settings.items() if value is not None}
        values = {_NAMES.get(key, key): value for key, value in given.items()}
        return cls(**values, input_hw=size, batch=None if batch == -1 else batch)

    def with_input_size(self, height: int, width: int) -> "InferConfig":
        """The same for another size of the network input, of a graph that takes any."""
        return replace(self, preprocess=with_input_size(self.preprocess, height, width))

    def make_preprocess(self) -> Preprocess:
        """Image to network input; a ConfigError for a size that the graph does not take."""
        preprocess = Preprocess(self.preprocess)
        check_size(preprocess, self.input_hw)
        return preprocess


def _are_files(files: dict[str, Any]) -> bool:
    return all(
        isinstance(facts, dict)
        and matches(facts.get("size"), int)
        and re.fullmatch("[0-9a-f]{64}", str(facts.get("sha256")))
        for facts in files.values()
    )


def _is_shape(shape: list[int]) -> bool:
    return len(shape) == 3 and shape[0] == 3 and all(side > 0 or side == -1 for side in shape)


_Text = Optional[str]
_Batch = Rule(lambda n: n == -1 or 0 < n <= MOST_BATCH, f"1 to {MOST_BATCH}, or -1 for any")
_KEYS: dict[str, Any] = {
    "mode": Any,
    "draw_threshold": Probability,
    "metric": _Text,
    "use_dynamic_shape": bool,
    "arch": _Text,
    "min_subgraph_size": Annotated[Count, Rule(lambda size: size < 1 << 31, "1 or more")],
    "Preprocess": list,
    "label_list": list,
    "format_version": Count,
    "model_name": _Text,
    "stage": Annotated[str, Rule(STAGES.__contains__, ", ".join(STAGES))],
    "target": Annotated[str, Rule(TARGETS.__contains__, ", ".join(TARGETS))],
    "image_shape": Optional[
        Annotated[list[int], Rule(_is_shape, "[3, height, width], -1 for any")]
    ],
    "batch_size": Optional[Annotated[int, _Batch]],
    "NMS": Optional[dict],
    "Decode": Optional[dict],
    "paddle_version": _Text,
    "category_ids": Optional[list[int]],
    "thresholds": Optional[list[Probability]],
    "onnx_opset": Optional[Count],
    "fp16": Optional[dict],
    "int8": Optional[dict],
    "files": Optional[Annotated[dict, Rule(_are_files, "size and sha256 (64 digits) of files")]],
}
"""Keys of infer_cfg.yml, in their order, and the types of their values."""

_NAMES = {
    "Preprocess": "preprocess",
    "label_list": "class_names",
    "NMS": "nms",
    "Decode": "decode",
}
"""Attributes that are not named as their keys."""


def with_input_size(steps: list[dict[str, Any]], height: int, width: int) -> list[dict[str, Any]]:
    """The steps of `Preprocess` for another size of the network input."""
    keys = {"Resize": "target_size", "Pad": "size", "CornerLetterbox": "target_size"}
    sized = []
    for step in steps:
        key = keys.get(step.get("type", "")) if isinstance(step, dict) else None
        sized.append({**step, key: [height, width]} if key else step)
    return sized


def graph_files(engine: str, precision: str = PRECISIONS[0]) -> tuple[str, ...]:
    """Names of the graphs that an engine reads, the first that exists is taken; none where it has
    no files of that precision. Paddle makes float16 of float32 by itself."""
    if precision == "fp32" or engine == "paddle":
        return GRAPH_FILES[engine]
    if precision == "int8":
        return INT8_FILES.get(_int8_engine(engine), ())[:1]
    return tuple(HALF_FILES[name] for name in GRAPH_FILES[engine] if name in HALF_FILES)


def _int8_engine(engine: str) -> str:
    """The engine for which ppdet quantize writes the file."""
    return "tensorrt" if engine in GPU_ENGINES else engine


def _weights_beside(graph: str) -> str:
    """The file with the weights of a graph in INT8; empty where the graph holds them."""
    return next((names[1] for names in INT8_FILES.values() if names[0] == graph and names[1:]), "")


class ModelFolder:
    """The files of an export that an engine reads.

    Args:
        input_size: [height, width] of the network input, or [side], for exports that leave it open.
        graph: name of the file to run, in place of the first that exists for the engine.
        precision: one of PRECISIONS.

    Attributes:
        graph, params: files of the network; `params` is None where the graph holds its own.
        config, preprocess: infer_cfg.yml, and image to network input.

    Raises:
        DataError: the folder or one of its files is missing, or its name is not UTF-8.
        ConfigError: infer_cfg.yml or `input_size` cannot be used.
    """

    def __init__(
        self,
        folder: Union[str, Path],
        engine: str = "paddle",
        input_size: Optional[Sequence[int]] = None,
        graph: Optional[str] = None,
        precision: str = PRECISIONS[0],
    ):
        if engine not in GRAPH_FILES:
            raise UserError(f"`engine`: found {engine}, allowed: {', '.join(GRAPH_FILES)}")
        self.path = Path(folder)
        check_utf8(f"`model_dir` {self.path}", "the engines")
        if not self.path.is_dir():
            reason = "is a file, not a folder" if self.path.exists() else "no such folder"
            raise DataError(f"`model_dir` {self.path}: {reason}")
        self.graph = self._existing(graph) if graph else self._find_graph(engine, precision)
        params = PARAMS_FILE if engine == "paddle" else _weights_beside(self.graph.name)
        self.params = self._existing(params) if params else None
        self.config = InferConfig.read(self._existing(CONFIG_FILE))
        for path in filter(None, (self.graph, self.params)):
            self.config.check_file(path)
        if input_size is not None:
            self.config = self._with_input_size(list(input_size))
        try:
            self.preprocess = self.config.make_preprocess()
        except ConfigError as error:
            text = " ".join(str(error).split())
            text = text if len(text) <= 500 else f"{text[:500]}..."
            raise ConfigError(f"{self.path / CONFIG_FILE}: {text}") from error

    def _find_graph(self, engine: str, precision: str) -> Path:
        other = "onnxruntime" if engine == "paddle" else "paddle"
        names = graph_files(engine, precision)
        own, others = (
            [self.path / name for name in kind if (self.path / name).is_file()]
            for kind in (names, GRAPH_FILES[other])
        )
        if own:
            return own[0]
        missing = " and no ".join(names)
        hint = f"ppdet export writes one{_FORMATS[engine]}"
        if precision == "int8":
            hint = f"ppdet quantize writes one, with `engine` {_int8_engine(engine)}"
        elif precision == "fp16":
            hint += ", with `precision` fp16"
        elif others:
            hint = f"this folder holds {others[0].name}: use `engine` {other}"
        raise DataError(f"`model_dir` {self.path}: no {missing} in it; {hint}")

    def _existing(self, name: str) -> Path:
        path = self.path / name
        if not path.is_file():
            raise DataError(f"{path}: missing; export the model again")
        return path

    def _with_input_size(self, size: list[int]) -> InferConfig:
        if not self.config.takes_any_size:
            raise ConfigError(
                f"`input_size`: {self.graph} takes one size only, that of {CONFIG_FILE}; an export "
                "with the input size dynamic takes any"
            )
        if len(size) > 2 or any(side < 1 or side % STRIDE for side in size):
            raise ConfigError(
                f"`input_size`: found {size}, allowed: height and width, multiples of {STRIDE}"
            )
        return self.config.with_input_size(size[0], size[-1])
