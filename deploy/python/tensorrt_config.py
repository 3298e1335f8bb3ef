"""What is asked of Paddle for TensorRT: precision, shapes, calibration and the cache of engines.

Paddle has two ways to TensorRT, one for each kind of model file:

* model.pdmodel: `Config.enable_tensorrt_engine`; the engine is built when the predictor first runs
  and kept in the folder given to `set_optim_cache_dir`.
* model.json (Paddle 3): `paddle.tensorrt.convert` writes a second model whose sub-graphs are built
  engines; the predictor loads that one like any other.

Under FP16 and INT8 two things stay in float32. Weights of PP-YOLO's deformable convolutions exceed
the range of FP16 (PaddlePaddle/Paddle pull request 59310), and the IoU-aware score is made of
powers and an inverse sigmoid, -log(1/x - 1) with x clipped at 1e-7, which FP16 cannot hold:

* deformable_conv: Paddle >= 2.6 runs it in float32 by itself inside TensorRT (that pull request;
  in Paddle 3 `ops_run_float` says so too). Before 2.6 it is kept out of TensorRT with
  `exp_disable_tensorrt_ops`, and Paddle's own GPU kernel computes it in float32.
* IOU_AWARE_OPS: kept out of TensorRT in every version (`exp_disable_tensorrt_ops`, in Paddle 3
  `disable_ops`), so that Paddle's float32 kernels compute them. This project's exports hold all of
  it in `yolo_box`; those of PaddleDetection spell the inverse sigmoid out before that.

The NMS stays in Paddle in every precision: matrix NMS has no TensorRT form, and for the other one
TensorRT has its own kind of NMS, whose result has another shape.
"""

import gc
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import numpy as np
from model_folder import ModelFolder
from tensorrt_versions import tensorrt_runtime_version, tensorrt_version

from ppdet_lite.core.errors import DataError, UserError
from ppdet_lite.data.image_ops import decode_image
from ppdet_lite.utils.visualize import list_pictures

IOU_AWARE_OPS = ("yolo_box", "clip", "log", "pow", "elementwise_pow", "reciprocal")
IOU_AWARE_DIVISION = {"program": "elementwise_div", "pir": "divide"}
"""Operators of the IoU-aware score; nothing else in this family of networks uses them. Division has
another name in each kind of model file."""

NMS_OPS = ("multiclass_nms", "multiclass_nms3", "top_k_v2", "topk")
"""Operators that TensorRT would replace by its BatchedNMS, and those that choose the candidates for
them, whose number TensorRT would limit. Nothing else in these graphs uses them."""

WORKSPACE_BYTES = 1 << 30
"""Memory that TensorRT may use while it looks for the fastest kernels."""

CACHE_FOLDER = "trt_cache"
SHAPES_FILE = "shapes.pbtxt"
COMPLETE_FILE = "complete"
CALIBRATION_FILES = "trt_calib_*"
MAX_CALIBRATION_PICTURES = 500
"""As many as Paddle's documentation recommends; more hardly move the ranges."""


class TensorRTOptions(NamedTuple):
    """What the user can choose.

    Attributes:
        cache_dir: folder of the built engines; None: `trt_cache` in the model folder.
        calib_dir: pictures for INT8; needed until a calibration table is in the cache.
        batch_size: of an engine for fixed shapes; the largest one for open shapes.
        min_side, opt_side, max_side: sides in pixels for a model whose input size is open.
    """

    cache_dir: Optional[Path] = None
    calib_dir: Optional[Path] = None
    batch_size: int = 1
    min_side: int = 320
    opt_side: int = 640
    max_side: int = 1280


class TensorRTSetup:
    """Builds predictors with TensorRT.

    Args:
        files: the model folder.
        run_mode: "trt_fp32", "trt_fp16" or "trt_int8".
        options: see there.

    Attributes:
        fixed_batch: the batch size of the engine; None with open shapes.
        folder: cache of this model on this GPU in this precision.

    Raises:
        UserError: this model cannot be run in this mode; says what to do.
    """

    def __init__(self, files: ModelFolder, run_mode: str, options: TensorRTOptions):
        self.files = files
        self.run_mode = run_mode
        self.precision = run_mode[len("trt_") :]
        self.options = options
        self.is_open = files.input_hw is None
        self.batch = files.batch or options.batch_size
        self.fixed_batch = None if self.is_open else self.batch
        self.is_pir = files.graph.suffix == ".json"
        if self.is_pir and self.precision == "int8":
            raise UserError(
                f"--run_mode trt_int8: Paddle calibrates model.pdmodel only, and this is "
                f"{files.graph}; export with --format paddle-legacy, or use --run_mode trt_fp16"
            )
        parent = Path(options.cache_dir or files.path / CACHE_FOLDER).absolute()
        about = self._about(parent)
        self.folder = parent / f"{self.precision}-{_digest(about)}"
        self._make_folder(about)

    def build(self, new_config: Callable):
        """A predictor that runs what it can in TensorRT.

        Args:
            new_config: (graph, params) -> a Config for the GPU.
        """
        from paddle.inference import create_predictor

        if self.is_pir:
            return create_predictor(new_config(*self._converted(new_config)))
        if self._needs_shapes and not (self.folder / SHAPES_FILE).is_file():
            self._collect_shapes(new_config)
        if self.precision == "int8" and not any(self.folder.glob(CALIBRATION_FILES)):
            self._calibrate(new_config)
        config = new_config(self.files.graph, self.files.params)
        self.ask_for_tensorrt(config)
        return create_predictor(config)

    # ------------------------------------------------------------------------------------- the key
    def _about(self, parent: Path) -> dict:
        """Everything that a built engine depends on."""
        import paddle

        about = {
            "model": _digest_of_files(self.files.graph, self.files.params),
            "gpu": paddle.device.cuda.get_device_name(0),
            "precision": self.precision,
            "tensorrt": [list(tensorrt_version()), list(tensorrt_runtime_version())],
            "paddle": paddle.__version__,
            "min_subgraph_size": self.min_subgraph_size,
            "shapes": {name: [list(s) for s in shapes] for name, shapes in self.shapes().items()},
        }
        if self.is_pir:  # the converted model holds the paths of its engines
            about["folder"] = str(parent)
        if self.precision == "int8":  # the value ranges are those of pictures so prepared
            about["preprocess"] = self.files.settings["Preprocess"]
        return about

    @property
    def min_subgraph_size(self) -> int:
        """Fewer operators than this are not worth an engine."""
        return int(self.files.settings.get("min_subgraph_size", 3))

    def _make_folder(self, about: dict) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")
        except OSError as error:
            raise UserError(
                f"--trt_cache_dir {self.folder.parent}: cannot be written ({error.strerror}); give "
                "a folder that can"
            ) from error

    # ------------------------------------------------------------------------------------- shapes
    def shapes(self) -> "dict[str, tuple]":
        """Smallest, usual and largest shape of each input; all equal for a fixed input size."""
        batch = self.batch
        if self.files.input_hw is not None:
            height, width = self.files.input_hw
            image = ((batch, 3, height, width),) * 3
            pair = ((batch, 2),) * 3
        else:
            sides = (self.options.min_side, self.options.opt_side, self.options.max_side)
            if list(sides) != sorted(sides) or any(side % 32 for side in sides):
                raise UserError(
                    f"--trt_min_shape, --trt_opt_shape, --trt_max_shape: found {sides}, allowed: "
                    "multiples of 32 in rising order"
                )
            batches = (self.files.batch or 1, batch, batch)
            image = tuple((b, 3, side, side) for b, side in zip(batches, sides))
            pair = tuple((b, 2) for b in batches)
        return {"image": image, "im_shape": pair, "scale_factor": pair}

    @property
    def _needs_shapes(self) -> bool:
        """TensorRT 10 and later know no implicit batch, so they are told fixed shapes as well."""
        return self.is_open or tensorrt_version()[0] >= 10

    def examples(self) -> "list[dict[str, np.ndarray]]":
        """Inputs of the smallest, usual and largest shape: gray pictures.

        The usual one comes twice: Paddle tunes for the length that it sees most often in each
        dimension, and of lengths that it sees equally often for the smallest.
        """
        examples = []
        smallest, usual, largest = zip(*self.shapes().values())
        for image, pair, _ in (smallest, usual, usual, largest):
            size = np.full(pair, image[2:], np.float32)
            examples.append(
                {
                    "image": np.zeros(image, np.float32),
                    "im_shape": size,
                    "scale_factor": np.ones(pair, np.float32),
                }
            )
        return examples

    def _collect_shapes(self, new_config: Callable) -> None:
        """Runs the model without TensorRT and lets Paddle note the shapes of all its tensors."""
        from paddle.inference import create_predictor

        path = self.folder / SHAPES_FILE
        print(f"TensorRT: collecting shapes into {path}, once")
        config = new_config(self.files.graph, self.files.params)
        config.collect_shape_range_info(str(path))
        predictor = create_predictor(config)
        for example in self.examples():
            _feed_and_run(predictor, example)
        del predictor  # Paddle writes the file when the predictor goes
        gc.collect()
        if not path.is_file():
            raise UserError(f"{path}: Paddle did not write the shapes; use --run_mode paddle")

    # ---------------------------------------------------------------------------- model.pdmodel
    def ask_for_tensorrt(self, config, keep_engine: bool = True) -> None:
        """The TensorRT part of a Config for model.pdmodel.

        Args:
            keep_engine: write the built engine into the cache, and take it from there.
        """
        import paddle
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
        config.exp_disable_tensorrt_ops(ops_outside_tensorrt(self.precision, paddle.__version__))

    def _calibrate(self, new_config: Callable) -> None:
        """Shows pictures to TensorRT, which writes the value ranges into the cache.

        Raises:
            UserError, DataError: no folder of pictures, or none in it.
            ImageError: a picture that cannot be read.
        """
        from paddle.inference import create_predictor

        if not self.options.calib_dir:
            raise UserError(
                "--run_mode trt_int8 needs --calib_dir FOLDER on its first run: some hundred "
                f"pictures like those to come (no calibration table in {self.folder} yet)"
            )
        pictures = list_pictures(self.options.calib_dir)[:MAX_CALIBRATION_PICTURES]
        batch = self.batch
        if len(pictures) < batch:
            raise DataError(
                f"--calib_dir {self.options.calib_dir}: {len(pictures)} pictures are fewer than "
                f"--batch_size {batch}"
            )
        print(f"TensorRT: calibrating on {len(pictures)} pictures, once")
        # Paddle writes the table into _opt_cache beside the graph, whatever set_optim_cache_dir
        # says, but looks for it where that says: the graph is copied and the table moved.
        place = self.folder / "calibration"
        place.mkdir(exist_ok=True)
        graph = Path(shutil.copy(self.files.graph, place))
        config = new_config(graph, self.files.params)
        self.ask_for_tensorrt(config, keep_engine=False)
        predictor = create_predictor(config)
        for start in range(0, len(pictures) - batch + 1, batch):
            samples = [
                self.files.preprocess(decode_image(path))
                for path in pictures[start : start + batch]
            ]
            _feed_and_run(
                predictor, {key: np.stack([s[key] for s in samples]) for key in samples[0]}
            )
        del predictor  # Paddle writes the table when the predictor goes
        gc.collect()
        for table in place.rglob(CALIBRATION_FILES):
            os.replace(table, self.folder / table.name)
        shutil.rmtree(place)
        if not any(self.folder.glob(CALIBRATION_FILES)):
            raise UserError(
                f"{self.folder}: Paddle wrote no calibration table; use --run_mode trt_fp16"
            )

    # ------------------------------------------------------------------------------- model.json
    def _converted(self, new_config: Callable) -> "tuple[Path, Path]":
        """Graph and parameters with built engines in them; built once, then from the cache."""
        complete = self.folder / COMPLETE_FILE
        model = self.folder / "model"
        if not complete.is_file():
            print(f"TensorRT: building engines in {self.folder}, once; this takes minutes")
            convert, config = self._conversion(model, new_config)
            try:
                convert(str(self.files.graph.with_suffix("")), config)
            except Exception as error:  # it is Python code that asserts and raises all kinds
                reason = " ".join(f"{type(error).__name__}: {error}".split())[-250:]
                raise UserError(
                    f"{self.files.graph}: Paddle cannot convert this model for TensorRT, use "
                    f"--run_mode paddle: {reason}"
                ) from error
            complete.write_text("")  # last, so that half a conversion is never used
        return model.with_suffix(".json"), model.with_suffix(".pdiparams")

    def _conversion(self, model: Path, new_config: Callable) -> tuple:
        """`paddle.tensorrt.convert` and its settings.

        Raises:
            UserError: the Python package tensorrt, which the conversion needs, is missing.
        """
        from paddle.inference import create_predictor

        try:
            from paddle.tensorrt.export import Input, PrecisionMode, TensorRTConfig, convert
        except ImportError as error:
            version = ".".join(map(str, tensorrt_version()))
            raise UserError(
                f"--run_mode {self.run_mode}: Paddle's TensorRT conversion cannot be imported "
                f"({error}); pip install tensorrt=={version}"
            ) from error
        names = create_predictor(new_config(self.files.graph, self.files.params)).get_input_names()
        inputs, examples = [], self.examples()
        for name in names:
            entry = Input(warmup_data=tuple(example[name] for example in examples))
            entry.name = name  # Paddle 3.0 goes by the order alone
            inputs.append(entry)
        config = TensorRTConfig(inputs=inputs, min_subgraph_size=self.min_subgraph_size)
        config.workspace_size = WORKSPACE_BYTES
        config.save_model_dir = str(model)
        config.precision_mode = PrecisionMode[self.precision.upper()]
        kept_out = NMS_OPS
        if self.precision != "fp32":
            config.ops_run_float = ["pd_op.deformable_conv"]
            kept_out = (*NMS_OPS, *IOU_AWARE_OPS, IOU_AWARE_DIVISION["pir"])
        config.disable_ops = [f"pd_op.{name}" for name in kept_out]
        return convert, config


def ops_outside_tensorrt(precision: str, paddle_version: str) -> "list[str]":
    """Operators of model.pdmodel that stay in Paddle's own kernels; see the module.

    Args:
        precision: "fp32", "fp16" or "int8".
        paddle_version: for instance "2.6.2"; "0.0.0", a build from source, counts as new.
    """
    if precision == "fp32":
        return [*NMS_OPS]
    major, minor = (int(part) for part in paddle_version.split(".")[:2])
    keeps_float32 = (major, minor) >= (2, 6) or major == 0
    deformable = [] if keeps_float32 else ["deformable_conv"]
    return [*NMS_OPS, *deformable, *IOU_AWARE_OPS, IOU_AWARE_DIVISION["program"]]


def _feed_and_run(predictor, inputs: "dict[str, np.ndarray]") -> None:
    for name in predictor.get_input_names():
        handle = predictor.get_input_handle(name)
        handle.reshape(inputs[name].shape)
        handle.copy_from_cpu(np.ascontiguousarray(inputs[name]))
    predictor.run()


def _digest(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _digest_of_files(*paths: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        with open(path, "rb") as stream:
            for block in iter(lambda: stream.read(1 << 22), b""):
                digest.update(block)
    return digest.hexdigest()
