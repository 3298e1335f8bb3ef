"""From a trained model to files for Paddle Inference.

The exported graph takes `image` float32 [N, 3, H, W], `im_shape` [N, 2] and `scale_factor` [N, 2]
(those that the model computes with: YOLOX needs no im_shape) and returns the detections [M, 6] and
the counts [N], decoding and NMS included. N is free, H and W are fixed. `infer_cfg.yml` beside it
holds all that deployment code has to know.
"""

import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Optional, Sequence, Union

import numpy as np
import paddle
import yaml
from paddle import nn
from paddle.static import InputSpec

from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.core.workspace import create
from ppdet_lite.engine.class_names import resolve_class_names
from ppdet_lite.engine.evaluation import load_trained_model
from ppdet_lite.engine.evaluator import evaluation_mode
from ppdet_lite.engine.export_check import ExportMismatch, load_pictures, verify_export
from ppdet_lite.utils.logger import get_logger

__all__ = ["FORMAT_VERSION", "ExportMismatch", "export_model", "save_inference_model"]

FORMAT_VERSION = 1
"""Version of the keys in infer_cfg.yml; readers refuse a higher one than they know."""

GRAPH_BYTES = 4 * 2**20
"""Room for all of an export but its weights."""

MODEL_NAME = "model"
CONFIG_FILE = "infer_cfg.yml"
MODEL_FILES = ("model.json", "model.pdmodel", "model.pdiparams", "model.pdiparams.info")

# Allowed values; Paddle Inference fuses convolution and batch norm by itself.
_EXPORT_SETTINGS = {
    "post_process": (True,),
    "nms": (True,),
    "benchmark": (False,),
    "fuse_conv_bn": (False, True),
}

_ARCH_OF = {"YOLOv3": "YOLO", "YOLOX": "YOLOX"}
_MIN_SUBGRAPH_SIZE = {"YOLO": 3, "YOLOX": 8}


class ExportedDetector(nn.Layer):
    """A detector with positional outputs, as an inference graph has them."""

    def __init__(self, detector: nn.Layer):
        super().__init__()
        self.detector = detector

    def forward(self, inputs):
        """The detector's `inference_inputs` by name -> bbox [M, 6], bbox_num [N]."""
        outputs = self.detector(inputs)
        return outputs["bbox"], outputs["bbox_num"]


def export_model(
    cfg,
    output_dir: Union[str, Path] = "output_inference",
    verify: Sequence[Union[str, Path]] = (),
) -> Path:
    """Exports `cfg.weights` to `<output_dir>/<config name>` and compares it with the model.

    Everything is written into a temporary folder beside the target first; a failed export or
    comparison leaves an earlier export as it was and nothing else behind.

    Args:
        verify: pictures or folders to compare on; none takes a built-in picture.

    Returns:
        The folder with the model, its parameters and `infer_cfg.yml`.

    Raises:
        ExportMismatch: the exported model's detections are not the trained model's.
        UserError: settings, weights, input size or pictures that cannot be used, or no room to
            write.
    """
    check_settings(cfg)
    images = load_pictures(verify)  # before the model, so that a wrong path costs no time
    model, weights = load_trained_model(cfg)
    reader = create("TestReader", cfg)
    infer_cfg = describe_export(cfg, model, reader.preprocess_config(), weights)
    target = Path(output_dir) / cfg.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_room(model, target.parent)
        part = Path(tempfile.mkdtemp(prefix=f".{cfg.name}.", dir=target.parent))
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror})") from error
    try:
        try:
            save_inference_model(model, part, infer_cfg)
        except OSError as error:
            raise UserError(f"{target}: cannot be written ({error.strerror or error})") from error
        verify_export(model, part, infer_cfg, images)
        _move_into_place(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    get_logger().info("exported to %s: %s", target, ", ".join(sorted(os.listdir(target))))
    return target


def _check_room(model: nn.Layer, folder: Path) -> None:
    """Paddle writes a cut file without a word when a disk gets full, so it is asked before.

    Raises:
        UserError: says how much is needed and free.
    """
    weights = sum(
        int(np.prod(tensor.shape)) * tensor.element_size() for tensor in model.state_dict().values()
    )
    needed, free = weights + GRAPH_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: the export needs about {needed / 2**20:.0f} MiB and {free / 2**20:.0f} MiB "
            "are free; make room or choose another --output_dir"
        )


def check_settings(cfg) -> None:
    """PaddleDetection's section `export` can leave parts out of the graph; here it is always whole.

    Raises:
        ConfigError: the section asks for something else; one line per key.
    """
    problems = []
    for key, value in (cfg.get("export") or {}).items():
        where = f"{cfg.origin('export', key)}: export.{key}"
        if key not in _EXPORT_SETTINGS:
            hint = nearest_hint(key, _EXPORT_SETTINGS)
            allowed = ", ".join(_EXPORT_SETTINGS)
            problems.append(f"{where}: unknown key{hint}; allowed: {allowed}")
        elif value not in _EXPORT_SETTINGS[key]:
            problems.append(
                f"{where}: found {str(value).lower()}, allowed: "
                f"{str(_EXPORT_SETTINGS[key][0]).lower()}; the graph always holds decoding and NMS"
            )
    if problems:
        raise ConfigError(problems)


def input_size(cfg) -> "tuple[int, int]":
    """(height, width) of the network input, from `TestReader.inputs_def.image_shape`.

    Raises:
        ConfigError: it is missing, not [3, H, W], or not a multiple of the largest stride, 32.
    """
    inputs_def = (cfg.get("TestReader") or {}).get("inputs_def") or {}
    shape = inputs_def.get("image_shape")
    example = "for instance -o TestReader.inputs_def.image_shape=[3,640,640]"
    is_list = isinstance(shape, (list, tuple)) and len(shape) == 3
    if not is_list or not all(isinstance(n, int) and n > 0 for n in shape) or shape[0] != 3:
        raise ConfigError(
            f"TestReader.inputs_def.image_shape: found {shape!r}, allowed: [3, height, width], "
            f"{example}"
        )
    if shape[1] % 32 or shape[2] % 32:
        raise ConfigError(
            f"TestReader.inputs_def.image_shape: found {list(shape)}, allowed: height and width "
            f"that are multiples of 32, {example}"
        )
    return int(shape[1]), int(shape[2])


def describe_export(cfg, model, preprocess: "list[dict]", weights: Optional[str]) -> dict:
    """The content of infer_cfg.yml: PaddleDetection's keys first, then this project's own."""
    height, width = input_size(cfg)
    nms, decode = model.post_process.nms, model.post_process.decode
    arch = _ARCH_OF.get(cfg.architecture, cfg.architecture)
    return {
        "mode": "paddle",
        "draw_threshold": 0.5,
        "metric": str(cfg.get("metric", "COCO")),
        "use_dynamic_shape": False,
        "arch": arch,
        "min_subgraph_size": _MIN_SUBGRAPH_SIZE.get(arch, 3),
        "Preprocess": _with_target_size(preprocess, height, width),
        "label_list": resolve_class_names(cfg, weights),
        "format_version": FORMAT_VERSION,
        "model_name": cfg.name,
        "image_shape": [3, height, width],
        "NMS": {"name": type(nms).__name__, **nms.arguments},
        "Decode": {"name": type(decode).__name__, "conf_thresh": decode.conf_thresh},
        "paddle_version": paddle.__version__,
    }


def _with_target_size(preprocess: "list[dict]", height: int, width: int) -> "list[dict]":
    """The list with the size of the exported input, so that it cannot contradict the graph."""
    ops = [dict(op) for op in preprocess]
    for op in ops:
        if op["type"] == "Resize":
            op["target_size"] = [height, width]
        elif op["type"] == "Pad":
            op["size"] = [height, width]
    return ops


def save_inference_model(model: nn.Layer, folder: Union[str, Path], infer_cfg: dict) -> None:
    """Writes the graph, its parameters and infer_cfg.yml into `folder`."""
    _, height, width = infer_cfg["image_shape"]
    shapes = {"image": [3, height, width], "im_shape": [2], "scale_factor": [2]}
    # A graph with an input that nothing depends on cannot be saved.
    names = model.inference_inputs
    spec = [{name: InputSpec([None, *shapes[name]], "float32", name) for name in names}]
    wrapper = ExportedDetector(model)
    with evaluation_mode(wrapper), warnings.catch_warnings():
        # Paddle's own NMS function asks a graph tensor for its device and is told there is none.
        warnings.filterwarnings("ignore", message="Tensor do not have 'place' interface")
        static = paddle.jit.to_static(wrapper, input_spec=spec, full_graph=True)
        paddle.jit.save(static, str(Path(folder) / MODEL_NAME), input_spec=spec)
    text = yaml.safe_dump(infer_cfg, sort_keys=False, allow_unicode=True, default_flow_style=None)
    (Path(folder) / CONFIG_FILE).write_text(text, encoding="utf-8")


def _move_into_place(part: Path, target: Path) -> None:
    """Makes `part` the folder `target`; files of an earlier export go, other files there stay."""
    try:
        part.chmod(0o755)  # temporary folders are private, an export is not
        if target.exists():
            for path in target.iterdir():
                if path.name not in (*MODEL_FILES, CONFIG_FILE):
                    os.replace(path, part / path.name)
            shutil.rmtree(target)
        os.replace(part, target)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror})") from error
