"""One detector over all engines: images in, boxes out.

from ppdet_lite.runtime.detector import Detector

detector = Detector("output_inference/ppyolov2_r50vd_dcn_365e_coco")
rows = detector.predict([image])[0]  # image: uint8 [H, W, 3], RGB
"""

from pathlib import Path
from typing import Optional, Sequence, Union

import numpy as np

from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.options import DEFAULT_THREADS
from ppdet_lite.runtime.tensorrt.setup import TensorRTOptions


def open_engine(
    files: ModelFolder,
    engine: str = "paddle",
    device: str = "CPU",
    run_mode: str = "paddle",
    cpu_threads: int = DEFAULT_THREADS,
    enable_mkldnn: bool = True,
    enable_mkldnn_bfloat16: bool = False,
    tensorrt: Optional[TensorRTOptions] = None,
):
    """The network of `files` in an engine: arrays in, arrays out; see `Detector` for the arguments.

    Returns:
        `PaddleEngine`, `OnnxRuntimeEngine` or `OpenVinoEngine`. `run(inputs)` does all; `bind`,
        `execute`, `synchronize` and `outputs` are its steps.
    """
    check_bfloat16(engine, device, enable_mkldnn, enable_mkldnn_bfloat16)
    check_target(files, device, enable_mkldnn_bfloat16)
    if engine == "paddle":
        from ppdet_lite.runtime.engines.paddle_inference import PaddleEngine

        return PaddleEngine(
            files, device, cpu_threads, enable_mkldnn, enable_mkldnn_bfloat16, run_mode, tensorrt
        )
    if run_mode != "paddle":
        raise UserError(f"--run_mode {run_mode} needs --engine paddle")
    from ppdet_lite.runtime.engines.onnx import OnnxRuntimeEngine, OpenVinoEngine

    kinds = {"onnxruntime": OnnxRuntimeEngine, "openvino": OpenVinoEngine}
    return kinds[engine](files, device, cpu_threads)


def check_bfloat16(engine: str, device: str, onednn: bool, bfloat16: bool) -> None:
    """Refuses bfloat16 where nothing would come of it.

    Raises:
        UserError: names what it needs.
    """
    needs = {
        "--engine paddle": engine == "paddle",
        "--device CPU": device == "CPU",
        "--enable_mkldnn": onednn,
    }
    missing = [option for option, is_given in needs.items() if not is_given]
    if bfloat16 and missing:
        raise UserError(f"--enable_mkldnn_bfloat16 needs {', '.join(missing)}")


def check_target(files: ModelFolder, device: str, bfloat16: bool) -> None:
    """An export for CPUs holds Winograd's convolutions, which half precision would spoil.

    Raises:
        ConfigError: the export was made for something else than it is to run on.
    """
    wanted = "--enable_mkldnn_bfloat16" if bfloat16 else f"--device {device}"
    if files.settings.get("target", "any") == "cpu" and wanted != "--device CPU":
        raise ConfigError(
            f"--model_dir {files.path}: exported with --target cpu, for CPUs in float32; for "
            f"{wanted} export it without"
        )


class Detector:
    """An exported detector on one device.

    Args:
        model_dir: folder written by tools/export_model.py.
        device: "CPU", "GPU" or "XPU".
        run_mode: "paddle", or for TensorRT "trt_fp32", "trt_fp16", "trt_int8".
        cpu_threads: threads of the CPU kernels.
        enable_mkldnn: oneDNN kernels on the CPU. Where they cannot run the model, one line says so
            and Paddle's own kernels take over.
        enable_mkldnn_bfloat16: let oneDNN compute in bfloat16 where the CPU can.
        engine: "paddle", or for an .onnx "onnxruntime" or "openvino".
        tensorrt: cache, calibration images and shapes for the TensorRT modes.
        batch_size: the largest number of images at once, as far as it is known; TensorRT builds
            its engine for it unless `tensorrt` names another.
        own_process: run Paddle in a process of its own, so that other threads of this one work
            while it computes; see engine_process.py. Call `close` at the end.
        input_size: height and width of the network input, for an export that leaves them open.

    Raises:
        DataError, ConfigError: files that are missing or cannot be used, each named.
        UserError: a device, run mode or package that is not there.
    """

    def __init__(
        self,
        model_dir: Union[str, Path],
        device: str = "CPU",
        run_mode: str = "paddle",
        cpu_threads: int = DEFAULT_THREADS,
        enable_mkldnn: bool = True,
        enable_mkldnn_bfloat16: bool = False,
        engine: str = "paddle",
        tensorrt: Optional[TensorRTOptions] = None,
        batch_size: int = 1,
        own_process: bool = False,
        input_size: Optional[Sequence[int]] = None,
    ):
        self.files = ModelFolder(model_dir, engine, input_size)
        stage = self.files.settings.get("stage", "nms")
        if stage != "nms":
            raise ConfigError(
                f"--model_dir {self.files.path}: exported with --stage {stage}, so it gives no "
                "detections; export it with --stage nms"
            )
        tensorrt = tensorrt or TensorRTOptions()
        if tensorrt.batch_size is None:
            tensorrt = tensorrt._replace(batch_size=batch_size)
        options = {
            "engine": engine,
            "device": device.upper(),
            "run_mode": run_mode,
            "cpu_threads": cpu_threads,
            "enable_mkldnn": enable_mkldnn,
            "enable_mkldnn_bfloat16": enable_mkldnn_bfloat16,
            "tensorrt": tensorrt,
        }
        if own_process and engine == "paddle":
            from ppdet_lite.runtime.process import EngineProcess

            size = self.files.input_hw
            count = self.files.batch or max(batch_size, tensorrt.batch_size)
            shape = None if size is None else (count, 3, *size)
            self.engine = EngineProcess(self.files, options, shape)
        else:
            self.engine = open_engine(self.files, **options)

    def close(self) -> None:
        """Ends the engine's own process; without one there is nothing to do."""
        close = getattr(self.engine, "close", None)
        if close is not None:
            close()

    @property
    def class_names(self) -> list[str]:
        """By class index, as the training data named them."""
        return self.files.class_names

    @property
    def category_ids(self) -> Optional[list[int]]:
        """By class index, the category of the training data; None where the export names none."""
        return self.files.category_ids

    @property
    def threshold(self) -> float:
        """Lowest score to draw, as infer_cfg.yml says."""
        return self.files.threshold

    def predict(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """uint8 RGB images of any size, run as one batch.

        Returns:
            For each image float32 [M, 6]: class, score, x1, y1, x2, y2 in its pixels, the highest
            score first (the network's own order is by class where its NMS is the greedy one).
        """
        return self.run([self.preprocess(image) for image in images])

    def preprocess(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 [H, W, 3] RGB -> the network's inputs for it, without the batch axis."""
        return self.files.preprocess(image)

    def run(self, samples: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
        """The network on preprocessed images; see `predict` for the result."""
        if not samples:
            return []
        full = self._filled_up(samples)
        bbox, bbox_num = self.engine.run(stack_samples(full))[:2]
        rows = np.split(bbox.reshape(-1, 6), np.cumsum(bbox_num)[:-1])
        return [best_first(found) for found in rows[: len(samples)]]

    @property
    def fixed_batch(self) -> Optional[int]:
        """The only number of images the network takes at once; fewer are filled up."""
        return self.files.batch or self.engine.fixed_batch

    def _filled_up(self, samples: list[dict]) -> list[dict]:
        """A network for one batch size gets the last image again where some are missing."""
        batch = self.fixed_batch
        if batch is None or len(samples) == batch:
            return samples
        if len(samples) > batch:
            reason = (
                "was exported with --batch" if self.files.batch else "has a TensorRT engine for"
            )
            raise UserError(
                f"{self.files.path}: {len(samples)} images at once, but this model {reason} "
                f"{batch}; --batch_size {batch} fits"
            )
        return samples + samples[-1:] * (batch - len(samples))


def best_first(rows: np.ndarray) -> np.ndarray:
    """Detections [M, 6] by falling score; rows of equal scores keep their order."""
    return rows[np.argsort(-rows[:, 1], kind="stable")]


def stack_samples(samples: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Preprocessed images as a batch; a single one is not copied."""
    if len(samples) == 1:
        return {key: value[None] for key, value in samples[0].items()}
    shapes = {sample["image"].shape for sample in samples}
    if len(shapes) > 1:
        raise ConfigError(
            f"images of different network input sizes {sorted(s[1:] for s in shapes)} cannot be "
            "one batch: use --batch_size 1"
        )
    return {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
