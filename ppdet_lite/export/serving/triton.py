"""A model repository for Triton Inference Server.

    <repository>/<model>_onnx/config.pbtxt   labels.txt   1/model.onnx
    <repository>/<model>_paddle/config.pbtxt   labels.txt   1/model.pdmodel   1/model.pdiparams

The fields of config.pbtxt are those of ModelConfig in Triton's model_config.proto. The backend for
Paddle reads model.pdmodel only, and runs on GPUs only.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any, Optional, Sequence, Union

from ppdet_lite.core.errors import UserError, require
from ppdet_lite.export.folder import check_apart, writing
from ppdet_lite.export.serving.text_format import Message, Name, text_format
from ppdet_lite.runtime.contract import (
    FINAL_STAGES,
    LEGACY_GRAPH_FILE,
    ONNX_FILE,
    PARAMS_FILE,
    PORTABLE_FILE,
    InferConfig,
    ModelFolder,
)
from ppdet_lite.utils.logger import get_logger

FORMATS = ("onnx", "paddle-legacy")
"""Those of an export that Triton's backends read."""

LABELS_FILE, CONFIG_NAME = "labels.txt", "config.pbtxt"
MAX_BATCH, QUEUE_MICROSECONDS = 8, 5000
"""Largest batch that Triton makes of requests, and the longest time that it waits for them."""


def check_options(formats: Sequence[str], stage: str) -> None:
    """Refuses, before an export, one that Triton could not run."""
    if not set(formats) & set(FORMATS):
        raise UserError(
            f"`triton`: found `formats` {', '.join(formats)}, allowed: with {' or '.join(FORMATS)}"
        )
    if stage not in FINAL_STAGES:
        allowed = " or ".join(FINAL_STAGES)
        raise UserError(f"`triton`: found `stage` {stage}, allowed: with {allowed}")


def write_repository(export: Union[str, Path], repository: Union[str, Path]) -> list[Path]:
    """Writes the models of an export into a repository; earlier ones of the same name go.

    With the stage nms_fixed and a free batch Triton makes batches of requests. With the stage nms
    the first axis of the detections is not that of the images, so each request is a batch.

    Returns:
        The folders of the models.

    Raises:
        UserError: the export has no file that Triton reads, or the folder cannot be written, or
            is, holds or lies in the export.
    """
    export, repository = Path(export), Path(repository)
    check_apart("triton", repository, export)
    found = []
    graph = next((name for name in (PORTABLE_FILE, ONNX_FILE) if (export / name).is_file()), None)
    if graph is not None:
        files = ModelFolder(export, "onnxruntime", graph=graph)
        names = _onnx_names(files.graph)
        found.append(_write_model(repository, "onnx", files, {graph: ONNX_FILE}, names))
    if (export / LEGACY_GRAPH_FILE).is_file():
        files = ModelFolder(export, "paddle", graph=LEGACY_GRAPH_FILE)
        names = _paddle_names(files.graph, files.path / PARAMS_FILE)
        copies = {name: name for name in (LEGACY_GRAPH_FILE, PARAMS_FILE)}
        found.append(_write_model(repository, "paddle", files, copies, names))
    if not found:
        raise UserError(
            f"{export}: no {ONNX_FILE} and no {LEGACY_GRAPH_FILE} in it; export it with `formats` "
            f"{' or '.join(FORMATS)}"
        )
    get_logger().info("for Triton: %s", ", ".join(map(str, found)))
    return found


def model_config(
    name: str, backend: str, config: InferConfig, inputs: Sequence[str], outputs: Sequence[str]
) -> Message:
    """The ModelConfig of an export.

    Args:
        backend: "onnx" or "paddle".
        inputs, outputs: names in the file, of the outputs the detections first.
    """
    is_fixed = config.stage == "nms_fixed"
    max_batch = MAX_BATCH if is_fixed and config.batch is None else 0
    images = [] if max_batch else [config.batch or -1]
    height, width = config.input_hw or (-1, -1)
    shapes = {"image": [3, height, width], "im_shape": [2], "scale_factor": [2]}
    message: Message = {
        "name": name,
        "backend": {"onnx": "onnxruntime"}.get(backend, backend),
        "max_batch_size": max_batch,
        "input": [_tensor(key, "TYPE_FP32", images + shapes[key]) for key in inputs],
        "output": [
            {
                **_tensor(outputs[0], "TYPE_FP32", _rows(config, images)),
                "label_filename": LABELS_FILE,
            },
            # Triton knows no tensor without an axis beside that of the images.
            {**_tensor(outputs[1], "TYPE_INT32", [1]), "reshape": {}}
            if max_batch
            else _tensor(outputs[1], "TYPE_INT32", images),
        ],
        "parameters": [
            {"key": key, "value": {"string_value": text}}
            for key, text in (
                ("preprocess", json.dumps(config.preprocess)),
                ("stage", config.stage),
                ("draw_threshold", str(config.draw_threshold)),
            )
        ],
    }
    if backend == "paddle":
        message["instance_group"] = [{"count": 1, "kind": Name("KIND_GPU")}]
    if max_batch:
        message["dynamic_batching"] = {"max_queue_delay_microseconds": QUEUE_MICROSECONDS}
    return message


def _tensor(name: str, data_type: str, dims: Sequence[int]) -> Message:
    return {"name": name, "data_type": Name(data_type), "dims": list(dims)}


def _rows(config: InferConfig, images: list[int]) -> list[int]:
    """Dimensions of the detections."""
    if config.stage == "nms_fixed":
        return [*images, config.nms["keep_top_k"], 6]
    return [-1, 6]


def _write_model(
    repository: Path,
    backend: str,
    files: ModelFolder,
    copies: dict[str, str],
    names: tuple[list[str], list[str]],
) -> Path:
    config, export = files.config, files.path
    if config.stage not in FINAL_STAGES:
        allowed = " or ".join(FINAL_STAGES)
        raise UserError(f"{export}: found the stage {config.stage}, allowed for Triton: {allowed}")
    base = config.model_name or export.resolve().name
    name = re.sub(r"[^\w.-]", "_", f"{base}_{backend}", flags=re.ASCII)
    folder = repository / name
    labels = "".join(" ".join(label.split()) + "\n" for label in config.class_names)
    message = model_config(name, backend, config, *names)
    with writing(folder):
        if folder.exists():
            _check_is_ours(folder)
            shutil.rmtree(folder)
        (folder / "1").mkdir(parents=True)
        for source, target in copies.items():
            shutil.copyfile(export / source, folder / "1" / target)
        (folder / LABELS_FILE).write_text(labels, encoding="utf-8")
        (folder / CONFIG_NAME).write_text(text_format(message), encoding="utf-8")
    return folder


def _check_is_ours(folder: Path) -> None:
    """Refuses to replace a folder that is no model of a repository."""
    if not (folder / CONFIG_NAME).is_file():
        raise UserError(f"{folder}: found no {CONFIG_NAME} in it, so it is left as it is")


def _onnx_names(graph: Path) -> tuple[list[str], list[str]]:
    onnx: Any = require("onnx", "`triton`", "onnx")
    found = onnx.load(str(graph), load_external_data=False).graph
    return [one.name for one in found.input], [one.name for one in found.output]


def _paddle_names(graph: Path, params: Optional[Path]) -> tuple[list[str], list[str]]:
    from paddle.inference import create_predictor

    from ppdet_lite.runtime.engines.paddle_predictor import new_config

    predictor = create_predictor(new_config(graph, params, "CPU"))
    return predictor.get_input_names(), predictor.get_output_names()
