"""TensorRT through Paddle: precision, shapes, calibration and the cache of engines.

* model.pdmodel: `Config.enable_tensorrt_engine` builds the engine while the predictor is created
  (tensorrt_subgraph_pass.cc) and keeps it in the folder given to `set_optim_cache_dir`.
* model.json (Paddle 3): `paddle.tensorrt.convert` writes a second model whose sub-graphs are built
  engines; the predictor loads it like any other.

Operators that stay out of TensorRT, or in float32 inside it:

* deformable_conv under FP16 and INT8: PP-YOLO's weights exceed the range of FP16. Paddle >= 2.6
  runs it in float32 inside TensorRT (PaddlePaddle/Paddle pull request 59310; in Paddle 3 also with
  `ops_run_float`); before, it is kept out of TensorRT.
* IOU_AWARE_OPS under FP16 and INT8: kept out, as FP16 cannot hold the inverse sigmoid
  -log(1/x - 1) with x clipped at 1e-7. Exports of this project hold all of it in `yolo_box`,
  those of PaddleDetection have the inverse sigmoid as operators of its own.
* NMS_OPS in every precision: matrix NMS has no TensorRT form, and the other NMS has another shape
  of result there.
"""

import gc
import os
import shutil
import traceback
from pathlib import Path
from typing import Any, Iterable

import numpy as np

from ppdet_lite.core.errors import DataError, UserError
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.runtime.contract import (
    CONFIG_FILE,
    GRAPH_FILE,
    LEGACY_GRAPH_FILE,
    ModelFolder,
)
from ppdet_lite.runtime.engines.built_engines import (
    CACHE_FOLDER,
    EngineCache,
    batch_of_engine,
    input_shapes,
)
from ppdet_lite.runtime.engines.engine import Arrays, EngineError, shortened, stack_samples
from ppdet_lite.runtime.engines.paddle_predictor import bind_inputs, new_config, tensorrt_versions
from ppdet_lite.runtime.options import RUN_MODES, EngineOptions
from ppdet_lite.utils.files import sha256_of
from ppdet_lite.utils.image_files import list_images

WORKSPACE_BYTES = 1 << 30
"""Memory that TensorRT may use while it looks for the fastest kernels."""

SHAPES_FILE = "shapes.pbtxt"
COMPLETE_FILE = "complete"
CALIBRATION_FILES = "trt_calib_*"
MAX_CALIBRATION_IMAGES = 500
"""As many as Paddle's documentation recommends; more hardly move the ranges."""


IOU_AWARE_OPS = ("yolo_box", "clip", "log", "pow", "elementwise_pow", "reciprocal")
"""Operators of the IoU-aware score, which nothing else in these networks uses; the division has
another name in each kind of model file."""

NMS_OPS = ("multiclass_nms", "multiclass_nms3", "top_k_v2", "topk")
"""NMS, which TensorRT would replace by its BatchedNMS, and the choice of candidates, whose number
it would limit. Nothing else in these graphs uses them."""


class TensorRTSetup:
    """Builds predictors with TensorRT in `precision` ("fp32", "fp16", "int8"), for the batch size
    `fixed_batch` (None with open shapes), cached in `folder`."""

    def __init__(self, files: ModelFolder, options: EngineOptions):
        import paddle

        self.files, self.options = files, options.tensorrt
        self.precision = options.run_mode[len("trt_") :]
        self.is_pir = files.graph.suffix == ".json"
        if self.is_pir and self.precision == "int8":
            raise UserError(
                f"`run_mode` trt_int8: Paddle calibrates model.pdmodel only, and this is "
                f"{files.graph}; export it in the format paddle-legacy, or use `run_mode` trt_fp16"
            )
        is_open = files.config.input_hw is None
        self.batch = batch_of_engine(files.config, self.options)
        self.fixed_batch = None if is_open else self.batch
        self.built_with, self.installed = tensorrt_versions()
        # TensorRT 10 and later have no implicit batch, so they need fixed shapes as well.
        self._needs_shapes = is_open or self.built_with[0] >= 10
        self.min_subgraph_size = int(files.config.min_subgraph_size)
        version = paddle.__version__
        self.outside_tensorrt = ops_outside_tensorrt(self.precision, version, self.is_pir)
        self.in_float32 = ops_in_float32(self.precision, self.is_pir)
        self.shapes = input_shapes(files.config, self.options)
        # The converted model of Paddle 3 holds the paths of its engines.
        self._cache = EngineCache(files, self.options, self.precision, self._about(), self.is_pir)
        self.folder = self._cache.folder

    def build(self) -> Any:
        """A predictor that runs in TensorRT as far as possible. Of processes that start at the same
        time one builds the engine and the others wait for it."""
        from paddle.inference import create_predictor

        folder = self.folder
        with self._cache.building():
            if self.is_pir:
                return create_predictor(new_config(*self._converted(), "GPU"))
            if self._needs_shapes and not (folder / SHAPES_FILE).is_file():
                self._collect_shapes()
            if self.precision == "int8" and not any(folder.glob(CALIBRATION_FILES)):
                self._calibrate()
            config = self._plain_config()
            self._ask_for_tensorrt(config)
            return create_predictor(config)

    def _about(self) -> dict[str, Any]:
        """What a built engine depends on beside the model."""
        import paddle

        about: dict[str, Any] = {
            "gpu": paddle.device.cuda.get_device_name(0),
            "precision": self.precision,
            "tensorrt": [list(self.built_with), list(self.installed)],
            "paddle": paddle.__version__,
            "min_subgraph_size": self.min_subgraph_size,
            "outside_tensorrt": self.outside_tensorrt,
            "in_float32": self.in_float32,
            "workspace_bytes": WORKSPACE_BYTES,
            "shapes": self.shapes,
        }
        if self.precision == "int8":  # the value ranges are those of images so prepared
            about["infer_cfg"] = sha256_of(self.files.path / CONFIG_FILE)
            about["input_hw"] = self.files.preprocess.output_hw
        return about

    def _plain_config(self) -> Any:
        """Config of the exported model without TensorRT."""
        return new_config(self.files.graph, self.files.params, "GPU")

    # ------------------------------------------------------------------------------------- shapes
    def _examples(self) -> list[Arrays]:
        """Gray images of the smallest, usual and largest shape. The usual one comes twice: Paddle
        tunes for the most frequent length of each dimension, and among equals for the smallest."""
        smallest, usual, largest = zip(*self.shapes.values())
        return [
            {
                "image": np.zeros(image, np.float32),
                "im_shape": np.full(pair, image[2:], np.float32),
                "scale_factor": np.ones(pair, np.float32),
            }
            for image, pair, _ in (smallest, usual, usual, largest)
        ]

    def _collect_shapes(self) -> None:
        """Runs the model without TensorRT and lets Paddle collect the shapes of all tensors.

        The file gets its name when all sizes were run: Paddle writes it after an error as well,
        with too narrow shapes.
        """
        path = self.folder / SHAPES_FILE
        print(f"TensorRT: collecting shapes into {path}, once")
        part = path.with_name(path.name + ".part")
        part.unlink(missing_ok=True)
        config = self._plain_config()
        config.collect_shape_range_info(str(part))
        try:
            _run_and_let_go(config, self._examples())
            if not part.is_file():
                raise UserError(f"{path}: Paddle did not write the shapes; use `run_mode` paddle")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    # ---------------------------------------------------------------------------- model.pdmodel
    def _ask_for_tensorrt(self, config: Any, keep_engine: bool = True) -> None:
        """The TensorRT part of a Config for model.pdmodel; `keep_engine` uses the cache."""
        from paddle.inference import PrecisionType

        precision = {"fp32": "Float32", "fp16": "Half", "int8": "Int8"}[self.precision]
        config.enable_tensorrt_engine(
            workspace_size=WORKSPACE_BYTES,
            max_batch_size=self.batch,
            min_subgraph_size=self.min_subgraph_size,
            precision_mode=getattr(PrecisionType, precision),
            use_static=keep_engine,
            use_calib_mode=self.precision == "int8",
        )
        config.set_optim_cache_dir(str(self.folder))
        if self._needs_shapes:
            config.enable_tuned_tensorrt_dynamic_shape(str(self.folder / SHAPES_FILE), True)
        config.exp_disable_tensorrt_ops(self.outside_tensorrt)

    def _calibrate(self) -> None:
        """Runs images, whose value ranges TensorRT writes into the cache."""
        if not self.options.calib_dir:
            raise UserError(
                "`run_mode` trt_int8 needs `calib_dir` on its first run: a folder of some hundred "
                f"images like those to come (no calibration table in {self.folder} yet)"
            )
        images = list_images(self.options.calib_dir, option="calib_dir")[:MAX_CALIBRATION_IMAGES]
        if len(images) < self.batch:
            raise DataError(
                f"`calib_dir` {self.options.calib_dir}: {len(images)} images are fewer than "
                f"`batch_size` {self.batch}"
            )
        print(f"TensorRT: calibrating on {len(images)} images, once")
        # Paddle writes the table into _opt_cache beside the graph, but reads it from the folder of
        # set_optim_cache_dir: the graph is copied and the table moved.
        place = self.folder / "calibration"
        shutil.rmtree(place, ignore_errors=True)  # of a run that was killed
        place.mkdir()
        try:
            graph = Path(shutil.copy(self.files.graph, place))
            config = new_config(graph, self.files.params, "GPU")
            self._ask_for_tensorrt(config, keep_engine=False)
            _run_and_let_go(config, self._batches(images))
            for table in place.rglob(CALIBRATION_FILES):
                os.replace(table, self.folder / table.name)
        finally:
            shutil.rmtree(place)
        if not any(self.folder.glob(CALIBRATION_FILES)):
            raise UserError(
                f"{self.folder}: Paddle wrote no calibration table; use `run_mode` trt_fp16"
            )

    def _batches(self, images: list[Path]) -> Iterable[Arrays]:
        for start in range(0, len(images) - self.batch + 1, self.batch):
            batch = images[start : start + self.batch]
            yield stack_samples([self.files.preprocess(decode_image(path)) for path in batch])

    # ------------------------------------------------------------------------------- model.json
    def _converted(self) -> tuple[Path, Path]:
        """Graph and parameters that hold the engines, built once."""
        complete, model = self.folder / COMPLETE_FILE, self.folder / "model"
        if not complete.is_file():
            print(f"TensorRT: building engines in {self.folder}, once; this takes minutes")
            self._convert(model)
            complete.write_text("")  # last, so that half a conversion is never used
        return model.with_suffix(".json"), model.with_suffix(".pdiparams")

    def _convert(self, model: Path) -> None:
        from paddle.inference import create_predictor

        try:
            from paddle.tensorrt.export import Input, PrecisionMode, TensorRTConfig, convert
        except ImportError as error:
            version = ".".join(map(str, self.built_with))
            raise UserError(
                f"`run_mode` trt_{self.precision}: Paddle's TensorRT conversion cannot be imported "
                f"({error}); pip install tensorrt=={version}"
            ) from error
        inputs, examples = [], self._examples()
        for name in create_predictor(self._plain_config()).get_input_names():
            entry = Input(warmup_data=tuple(example[name] for example in examples))
            entry.name = name  # Paddle 3.0 goes by the order alone
            inputs.append(entry)
        config = TensorRTConfig(inputs=inputs, min_subgraph_size=self.min_subgraph_size)
        config.workspace_size = WORKSPACE_BYTES
        config.save_model_dir = str(model)
        config.precision_mode = PrecisionMode[self.precision.upper()]
        if self.in_float32:
            config.ops_run_float = self.in_float32
        config.disable_ops = self.outside_tensorrt
        try:
            convert(str(self.files.graph.with_suffix("")), config)
        except Exception as error:  # it is Python code that asserts and raises all kinds
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            problem = "Paddle cannot convert this model for TensorRT, use `run_mode` paddle: "
            end = shortened(reason, keeps_end=True)
            raise EngineError(self.files.graph, problem + end) from error


def _run_and_let_go(config: Any, batches: Iterable[Arrays]) -> None:
    """Runs a predictor on inputs and deletes it, which makes Paddle write shapes and ranges."""
    from paddle.inference import create_predictor

    predictor = create_predictor(config)
    try:
        for inputs in batches:
            bind_inputs(predictor, inputs)
            predictor.run()
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # their variables hold the predictor
        raise
    finally:
        del predictor
        gc.collect()


def ops_outside_tensorrt(precision: str, paddle_version: str, is_pir: bool = False) -> list[str]:
    """Operators that stay in Paddle's own kernels. `paddle_version` "0.0.0", a build from source,
    counts as new; `is_pir` means those of model.json, not of model.pdmodel."""
    names = [*NMS_OPS]
    if precision != "fp32":
        major, minor = (int(part) for part in paddle_version.split(".")[:2])
        keeps_float32 = (major, minor) >= (2, 6) or major == 0
        names += [] if keeps_float32 else ["deformable_conv"]
        names += [*IOU_AWARE_OPS, "divide" if is_pir else "elementwise_div"]
    return [f"pd_op.{name}" for name in names] if is_pir else names


def ops_in_float32(precision: str, is_pir: bool) -> list[str]:
    """Operators that stay in float32 inside TensorRT because Paddle is told so."""
    return ["pd_op.deformable_conv"] if is_pir and precision != "fp32" else []


def ops_outside_float16() -> list[str]:
    """Operators that stay in float32 in Paddle's mixed precision without TensorRT: NMS, decoding
    and what overflows, by the names in all kinds of graphs."""
    names = [*NMS_OPS, *IOU_AWARE_OPS, "matrix_nms", "deformable_conv", "divide", "elementwise_div"]
    return [*names, *(f"pd_op.{name}" for name in names)]


def shared_settings() -> dict[str, Any]:
    """The content of tensorrt.json, from which deploy/cpp takes its settings: those for Paddle 2.6
    and later, by graph file and precision."""
    kinds = {LEGACY_GRAPH_FILE: False, GRAPH_FILE: True}
    precisions = [mode[len("trt_") :] for mode in RUN_MODES[1:]]
    return {
        "workspace_bytes": WORKSPACE_BYTES,
        "cache_folder": CACHE_FOLDER,
        "outside_tensorrt": {
            graph: {name: ops_outside_tensorrt(name, "0.0.0", is_pir) for name in precisions}
            for graph, is_pir in kinds.items()
        },
        "in_float32": {
            graph: {name: ops_in_float32(name, is_pir) for name in precisions}
            for graph, is_pir in kinds.items()
        },
    }
