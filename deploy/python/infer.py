#!/usr/bin/env python3
"""Runs an exported model with Paddle Inference on pictures; a JSON lies beside each result."""

import argparse
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Optional, Sequence, Union

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np  # noqa: E402
import yaml  # noqa: E402

from ppdet_lite.core.errors import ConfigError, DataError, UserError  # noqa: E402
from ppdet_lite.data.image_ops import Preprocess, decode_image  # noqa: E402
from ppdet_lite.utils.visualize import detect_and_save, list_pictures  # noqa: E402

FORMAT_VERSION = 1
"""Highest format_version of infer_cfg.yml that this script knows."""

CONFIG_FILE = "infer_cfg.yml"
GRAPH_FILES = ("model.json", "model.pdmodel")
PARAMS_FILE = "model.pdiparams"
RUN_MODES = ("paddle", "trt_fp32", "trt_fp16", "trt_int8")

PADDLE_ERRORS = (RuntimeError, ValueError, NotImplementedError, MemoryError, OSError)
"""What Paddle raises when it cannot load or run a graph."""

DEFAULT_THREADS = min(os.cpu_count() or 1, 8)
"""More threads seldom help a single picture."""

EXAMPLES = """examples:
  python deploy/python/infer.py --model_dir output_inference/ppyolov2_r50vd_dcn_365e_coco \\
      --image_file demo.jpg --device CPU
  ... --image_dir photos --output_dir output/photos    a folder with its sub-folders
  ... --threshold 0.3 --save_results                   more detections; all of them in bbox.json
  ... --device GPU --batch_size 8                      needs paddlepaddle-gpu
  ... --image_file demo.jpg --run_benchmark            times of each stage
"""


class ModelFolder:
    """The files that tools/export_model.py writes, and the content of infer_cfg.yml.

    Raises:
        DataError: the folder or one of its files is missing.
        ConfigError: infer_cfg.yml cannot be used.
    """

    def __init__(self, folder: Union[str, Path]):
        self.path = Path(folder)
        if not self.path.is_dir():
            reason = "is a file, not a folder" if self.path.exists() else "no such folder"
            raise DataError(f"--model_dir {self.path}: {reason}")
        graphs = [self.path / name for name in GRAPH_FILES if (self.path / name).is_file()]
        if not graphs:
            raise DataError(
                f"--model_dir {self.path}: no {' and no '.join(GRAPH_FILES)} in this folder; "
                "tools/export_model.py writes one"
            )
        self.graph = graphs[0]
        self.params = self._existing(PARAMS_FILE)
        self.settings = self._read_settings(self._existing(CONFIG_FILE))
        self.preprocess = Preprocess(self.settings["Preprocess"])
        self.class_names = [str(name) for name in self.settings["label_list"]]
        self.threshold = self.settings.get("draw_threshold", 0.5)
        self._check_size()

    def _check_size(self) -> None:
        """The graph takes one size only, and fails deep inside for any other."""
        _, *needed = self.settings.get("image_shape") or [None]
        for op in self.settings["Preprocess"]:
            size = op.get("target_size", needed)
            if needed and np.broadcast_to(size, 2).tolist() != needed:
                raise ConfigError(
                    f"{self.path / CONFIG_FILE}: target_size: found {size}, allowed: {needed}, the "
                    "size of the graph's input; for another size export the model again"
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
        version = settings.get("format_version", FORMAT_VERSION)
        if version > FORMAT_VERSION:
            raise ConfigError(
                f"{path}: format_version {version}, but this script knows up to {FORMAT_VERSION}; "
                "use the deploy/python/infer.py of the ppdet_lite that exported it"
            )
        return settings


class Detector:
    """An exported detector on one device.

    Args:
        model_dir: folder written by tools/export_model.py.
        device: "CPU" or "GPU".
        run_mode: "paddle"; the TensorRT modes are refused with the reason.
        cpu_threads: threads of the CPU kernels.
        enable_mkldnn: oneDNN kernels on the CPU. Where they cannot run the model, one line says so
            and Paddle's own kernels take over.

    Raises:
        DataError, ConfigError: files that are missing or cannot be used, each named.
        UserError: a device or run mode that this Paddle does not have.
    """

    def __init__(
        self,
        model_dir: Union[str, Path],
        device: str = "CPU",
        run_mode: str = "paddle",
        cpu_threads: int = DEFAULT_THREADS,
        enable_mkldnn: bool = True,
    ):
        self.files = ModelFolder(model_dir)
        self.device = device.upper()
        self.cpu_threads = cpu_threads
        self.onednn = enable_mkldnn and self.device == "CPU"
        check_runtime(self.device, run_mode)
        check_graph(self.files.graph)
        try:
            self.predictor = self._build()
        except PADDLE_ERRORS as error:
            self._give_up_onednn(error)

    @property
    def class_names(self) -> "list[str]":
        """By class index, as the training data named them."""
        return self.files.class_names

    def predict(self, images: "Sequence[np.ndarray]") -> "list[np.ndarray]":
        """uint8 RGB pictures of any size, run as one batch.

        Returns:
            For each picture float32 [M, 6]: class, score, x1, y1, x2, y2 in its pixels, the highest
            score first.
        """
        return self.run([self.files.preprocess(image) for image in images])

    def run(self, samples: "list[dict[str, np.ndarray]]") -> "list[np.ndarray]":
        """The network on preprocessed pictures; see `predict` for the result."""
        inputs = {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
        try:
            bbox, bbox_num = self._run_graph(inputs)
        except PADDLE_ERRORS as error:
            self._give_up_onednn(error)
            try:
                bbox, bbox_num = self._run_graph(inputs)
            except PADDLE_ERRORS as second:
                raise self._unusable(second) from second
        return np.split(bbox, np.cumsum(bbox_num)[:-1])

    def _run_graph(self, inputs: "dict[str, np.ndarray]") -> "tuple[np.ndarray, np.ndarray]":
        for name in self.predictor.get_input_names():
            handle = self.predictor.get_input_handle(name)
            handle.reshape(inputs[name].shape)
            handle.copy_from_cpu(inputs[name])
        self.predictor.run()
        names = self.predictor.get_output_names()
        bbox, bbox_num = (self.predictor.get_output_handle(n).copy_to_cpu() for n in names[:2])
        return bbox.reshape(-1, 6), bbox_num

    def _build(self):
        from paddle.inference import Config, create_predictor

        config = Config(str(self.files.graph), str(self.files.params))
        config.disable_glog_info()
        config.switch_ir_optim(True)
        if self.device == "GPU":
            config.enable_use_gpu(200, 0)  # MiB taken at the start; grows when needed
        else:
            config.disable_gpu()
            config.set_cpu_math_library_num_threads(self.cpu_threads)
            if self.onednn:
                config.enable_mkldnn()
            elif hasattr(config, "disable_mkldnn"):  # on by default in Paddle 3.3
                config.disable_mkldnn()
        return create_predictor(config)

    def _give_up_onednn(self, error: Exception) -> None:
        """Rebuilds the predictor without oneDNN; an error that is not oneDNN's is passed on."""
        if not self.onednn:
            raise self._unusable(error) from error
        self.onednn = False
        try:
            self.predictor = self._build()
        except PADDLE_ERRORS as second:
            raise self._unusable(second) from second
        print(f"oneDNN is off, it cannot run this model here: {_end_of(error)}", file=sys.stderr)

    def _unusable(self, error: Exception) -> UserError:
        return UserError(
            f"{self.files.path}: Paddle cannot run this model. Either {self.files.graph.name} and "
            f"{PARAMS_FILE} do not belong together, or another version of Paddle wrote them: "
            f"{_end_of(error)}"
        )


def _end_of(error: Exception) -> str:
    """The last part of Paddle's message on one line; what comes before is its call stack."""
    return " ".join(str(error).split())[-250:]


def check_runtime(device: str, run_mode: str) -> None:
    """Refuses a device or run mode that the installed Paddle does not have.

    Raises:
        UserError: says what is missing and what to do.
    """
    if device not in ("CPU", "GPU"):
        raise UserError(f"--device: found {device}, allowed: CPU, GPU")
    if run_mode not in RUN_MODES:
        raise UserError(f"--run_mode: found {run_mode}, allowed: {', '.join(RUN_MODES)}")
    if run_mode != "paddle" and device != "GPU":
        raise UserError(f"--run_mode {run_mode} needs --device GPU; on a CPU use --run_mode paddle")
    warnings.filterwarnings("ignore", message="No ccache found")  # only compilers need it
    try:
        import paddle
    except ImportError as error:
        raise UserError(
            f"Paddle cannot be imported ({error}); install paddlepaddle, or paddlepaddle-gpu for "
            "--device GPU (README.md says from where)"
        ) from error
    if device == "GPU" and not paddle.is_compiled_with_cuda():
        raise UserError(
            "--device GPU: this Paddle was built without CUDA; install paddlepaddle-gpu "
            "(README.md says from where), or use --device CPU"
        )
    if device == "GPU" and paddle.device.cuda.device_count() == 0:
        raise UserError("--device GPU: no GPU is visible; use --device CPU")
    if run_mode != "paddle":
        import paddle.inference

        if tuple(paddle.inference.get_trt_compile_version()) == (0, 0, 0):
            raise UserError(
                f"--run_mode {run_mode}: this Paddle was built without TensorRT; install a "
                "paddlepaddle-gpu with TensorRT, or use --run_mode paddle"
            )
        raise UserError(
            f"--run_mode {run_mode}: TensorRT is not supported yet; use --run_mode paddle"
        )


def check_graph(graph: Path) -> None:
    """Refuses a graph of Paddle 3 under Paddle 2, which would end in a crash of the process.

    Raises:
        UserError: names the file and both versions.
    """
    import paddle

    if graph.suffix == ".json" and paddle.__version__.startswith(("1.", "2.")):
        raise UserError(
            f"{graph}: written by Paddle 3, but this is Paddle {paddle.__version__}; install "
            "paddlepaddle>=3, or export the model with the Paddle of this machine"
        )


def benchmark(detector: Detector, picture: Path, repeats: int) -> str:
    """Milliseconds of each stage for one picture: median and 95th percentile of `repeats` runs."""
    stages: dict = {"read and decode file": [], "preprocess": [], "network, decoding, NMS": []}
    for index in range(repeats + 3):
        times = [time.perf_counter()]
        image = decode_image(picture)
        times.append(time.perf_counter())
        sample = detector.files.preprocess(image)
        times.append(time.perf_counter())
        detector.run([sample])
        times.append(time.perf_counter())
        if index >= 3:  # the first runs allocate memory and prepare kernels
            for values, seconds in zip(stages.values(), np.diff(times)):
                values.append(1000 * seconds)
    stages["total"] = list(np.sum(list(stages.values()), axis=0))
    kernels = "oneDNN" if detector.onednn else "paddle"
    lines = [f"{picture}: batch 1, {repeats} runs, {detector.device}, {kernels} kernels"]
    lines.append(f"{'stage':<24}{'median ms':>12}{'p95 ms':>12}")
    for name, values in stages.items():
        median, high = np.percentile(values, [50, 95])
        lines.append(f"{name:<24}{median:>12.2f}{high:>12.2f}")
    lines.append(f"{1000 / np.median(stages['total']):.2f} images/s")
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """Options are named as in PaddleDetection's script."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    # PaddleDetection's users write `--save_results True`; a bare `--save_results` works as well.
    switch = {"nargs": "?", "const": True, "type": true_or_false, "metavar": "true|false"}
    on, off = {**switch, "default": True}, {**switch, "default": False}
    add("--model_dir", required=True, metavar="FOLDER", help="written by tools/export_model.py")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--image_file", nargs="+", metavar="PICTURE", help="one or more pictures")
    source.add_argument("--image_dir", metavar="FOLDER", help="all pictures below a folder")
    add("--output_dir", default="output", metavar="FOLDER", help="results (default: output)")
    add("--device", default="CPU", type=str.upper, choices=["CPU", "GPU"], help="default: CPU")
    add("--run_mode", default="paddle", choices=RUN_MODES, help="default: paddle")
    add(
        "--cpu_threads",
        type=positive,
        default=DEFAULT_THREADS,
        metavar="N",
        help=f"CPU threads (default here: {DEFAULT_THREADS})",
    )
    add("--enable_mkldnn", **on, help="oneDNN kernels on the CPU (default: on)")
    add("--no-mkldnn", dest="enable_mkldnn", action="store_false", help="without oneDNN kernels")
    add(
        "--threshold",
        type=float,
        metavar="SCORE",
        help="lowest score that is drawn and written (default: draw_threshold of infer_cfg.yml)",
    )
    add("--batch_size", type=positive, default=1, metavar="N", help="pictures per run (default: 1)")
    add("--save_images", **on, help="false: write the JSON files only (default: true)")
    add(
        "--save_results",
        **off,
        help="also write <output_dir>/bbox.json: all detections in the COCO results format",
    )
    add(
        "--run_benchmark",
        **off,
        help="print the times of each stage for the first picture instead of writing results",
    )
    add("--repeats", type=positive, default=20, metavar="N", help="runs of the benchmark")
    return parser


def true_or_false(text: str) -> bool:
    """argparse type: true or false in any case."""
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def positive(text: str) -> int:
    """argparse type: a whole number from 1."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def main(arguments: Optional[Sequence[str]] = None) -> None:
    args = build_parser().parse_args(arguments)
    if args.image_dir:
        pictures = list_pictures(args.image_dir, skip=args.output_dir)
    else:
        pictures = [Path(path) for path in args.image_file]
        for picture in pictures:
            if not picture.is_file():
                reason = "is a folder: use --image_dir" if picture.is_dir() else "no such picture"
                raise DataError(f"--image_file {picture}: {reason}")
    detector = Detector(
        args.model_dir, args.device, args.run_mode, args.cpu_threads, args.enable_mkldnn
    )
    if args.run_benchmark:
        print(benchmark(detector, pictures[0], args.repeats))
        return
    detect_and_save(
        detector.predict,
        decode_image,
        pictures,
        Path(args.image_dir) if args.image_dir else None,
        args.output_dir,
        detector.class_names,
        detector.files.threshold if args.threshold is None else args.threshold,
        args.batch_size,
        args.save_images,
        args.save_results,
    )


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
