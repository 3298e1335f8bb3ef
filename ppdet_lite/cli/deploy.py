"""The command line of deploy/python/infer.py: exported models on images, videos and streams.

Options are named as in the other commands and in PaddleDetection's script. Nothing heavy is
imported before they are parsed, so `--help` answers at once.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Sequence

from ppdet_lite.cli.drawing_options import add_drawing_options, result_options
from ppdet_lite.cli.inputs import SCORE_OR_AUTO, add_images, add_threshold
from ppdet_lite.cli.tool import AUTO, run_tool
from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.runtime.options import (
    DEFAULT_THREADS,
    DEVICES,
    ENGINES,
    MOST_THREADS,
    PRECISIONS,
    PROVIDERS,
    RUN_MODES,
    EngineOptions,
    TensorRTOptions,
)

if TYPE_CHECKING:
    from ppdet_lite.runtime.detector import Detector
    from ppdet_lite.runtime.frames.sources import FrameSource
    from ppdet_lite.utils.detection_rows import Threshold

DESCRIPTION = (
    "Runs an exported model on images, a video, a camera or a stream; draws what it finds and "
    "writes it as JSON."
)

EXAMPLES = """examples:
  ppdet deploy --model_dir output_inference/ppyolov2_r50vd_dcn_365e_coco \\
      --image demo.jpg --device CPU
  ... --image_dir photos --output_dir output/photos    a folder with its sub-folders
  ... --video_file street.mp4                          output/street.mp4 and a line of JSON a frame
  ... --camera_id 0 --max_frames 300                   Ctrl-C ends it as well, the video is whole
  ... --rtsp rtsp://user:password@10.0.0.7/stream1     a network camera
  ... --threshold 0.3 --save_results                   more detections; all of them in bbox.json
  ... --device GPU --run_mode trt_fp16 --batch_size 8  TensorRT; its engine is built once
  ... --engine onnxruntime                             the .onnx of --format onnx
  ... --engine onnxruntime --device GPU --provider tensorrt --cuda_graph
  ... --image demo.jpg --run_benchmark                 times of each stage
"""


def command_line() -> None:
    """Runs infer.py and ends the process."""
    sigterm_is_interrupt()
    run_tool(run, build_parser())


def sigterm_is_interrupt() -> None:
    """SIGTERM counts as Ctrl-C, so that a video that is being written can be played."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Parses the command line and runs it.

    Raises:
        UserError: files, devices or packages that are missing or cannot be used, each named.
    """
    run(build_parser().parse_args(arguments))


def run(args: argparse.Namespace) -> None:
    """Detects on the input that the options name and writes the results."""
    _check(args)
    if args.image_file or args.image_dir:
        _run_images(args)
        return
    source = _open_source(args)  # before the model, so that a closed camera costs no time
    detector = open_detector(args, own_process=True)
    try:
        _run_frames(args, detector, source)
    finally:
        detector.close()


def _check(args: argparse.Namespace) -> None:
    """Refuses a wrong threshold, and options of which nothing would come."""
    if args.threshold not in (None, AUTO):
        from ppdet_lite.utils.detection_rows import check_threshold

        check_threshold(args.threshold)
    has_images = bool(args.image_file or args.image_dir)
    if args.run_benchmark and not has_images:
        raise ConfigError("`run_benchmark` needs `image_file` or `image_dir`")
    if args.anno_path is not None and not (has_images and args.save_results):
        raise ConfigError("`anno_path` needs `save_results`, and `image_file` or `image_dir`")
    if args.max_frames is not None and has_images:
        raise ConfigError("`max_frames` needs `video_file`, `camera_id` or `rtsp`")
    if args.crop and not has_images:
        raise ConfigError("`crop` needs `image_file` or `image_dir`")
    if args.numbers and not has_images:  # the list would make every frame as wide as its texts
        raise ConfigError("`numbers` needs `image_file` or `image_dir`")
    if args.use_openvino and args.engine not in (None, "openvino"):
        raise ConfigError(f"`use_openvino` and `engine` {args.engine}: give one of them")


def check_model_folder(args: argparse.Namespace) -> None:
    """Raises the errors of a folder without the files for the engine, before that is opened."""
    from ppdet_lite.runtime.contract import ModelFolder

    tensorrt = TensorRTOptions(**_values(args, TensorRTOptions))
    values = {**_values(args, EngineOptions), "engine": _engine(args), "tensorrt": tensorrt}
    options = EngineOptions(**values)
    ModelFolder(args.model_dir, options.reads, args.input_size, precision=options.precision)


def _engine(args: argparse.Namespace) -> str:
    return "openvino" if args.use_openvino else args.engine or "paddle"


def open_detector(args: argparse.Namespace, own_process: bool = False) -> Detector:
    """The detector that the options describe."""
    from ppdet_lite.runtime.detector import Detector

    options = _values(args, EngineOptions)
    options["engine"] = _engine(args)
    detector = Detector(
        args.model_dir,
        batch_size=args.batch_size,
        own_process=own_process,
        input_size=args.input_size,
        tensorrt=TensorRTOptions(**_values(args, TensorRTOptions)),
        **options,
    )
    if args.device != "CPU":
        print(f"running on {detector.engine.runs_on}", file=sys.stderr)
    return detector


def _threshold(args: argparse.Namespace, detector: Detector) -> Threshold:
    """The lowest score that is drawn and written."""
    if args.threshold != AUTO:
        given: Optional[float] = args.threshold
        return detector.threshold if given is None else given
    if not detector.thresholds:
        raise ConfigError(
            f"`threshold`: found auto, but {detector.files.path / 'infer_cfg.yml'} has no "
            "thresholds; allowed: 0 to 1, or an export of weights of a training with evaluations"
        )
    return detector.thresholds


def _values(args: argparse.Namespace, kind: type) -> dict[str, Any]:
    """Options of the command line that are fields of a dataclass, by name."""
    return {key.name: getattr(args, key.name) for key in fields(kind) if key.name in args}


def _run_images(args: argparse.Namespace) -> None:
    from ppdet_lite.data.pixels.image_ops import decode_image
    from ppdet_lite.runtime.stage_times import benchmark
    from ppdet_lite.utils.detect_files import detect_and_save
    from ppdet_lite.utils.image_files import list_images
    from ppdet_lite.utils.image_ids import match_image_ids, read_image_ids

    if args.image_dir:
        images = list_images(args.image_dir, skip=args.output_dir, option="image_dir")
    else:
        images = [Path(path) for path in args.image_file]
    for image in images:
        if not image.is_file():
            reason = "is a folder: use `image_dir`" if image.is_dir() else "no such image"
            raise DataError(f"`image_file` {image}: {reason}")
    image_ids = None
    if args.anno_path is not None:
        image_ids = match_image_ids(images, read_image_ids(args.anno_path), str(args.anno_path))
        if image_ids is None:
            text = f"found none of the {len(images)} images, allowed: annotations of them"
            raise DataError(f"`anno_path` {args.anno_path}: {text}")
    detector = open_detector(args)
    if args.run_benchmark:
        print(benchmark(detector, images[0], args.repeats, args.batch_size))
        return
    detect_and_save(
        detector.predict,
        decode_image,
        images,
        root=Path(args.image_dir) if args.image_dir else None,
        output_dir=args.output_dir,
        class_names=detector.class_names,
        threshold=_threshold(args, detector),
        batch_size=args.batch_size,
        save_images=args.save_images,
        save_results=args.save_results,
        category_ids=detector.category_ids,
        image_ids=image_ids,
        options=result_options(args),
    )


def _open_source(args: argparse.Namespace) -> FrameSource:
    from ppdet_lite.runtime.frames.results import check_not_the_input
    from ppdet_lite.runtime.frames.sources import open_source

    if args.video_file:
        check_not_the_input(Path(args.video_file), args.output_dir)
    options = ("video_file", "camera_id", "rtsp")
    option = next(name for name in options if getattr(args, name) is not None)
    return open_source(option, getattr(args, option), args.max_frames)


def _run_frames(args: argparse.Namespace, detector: Detector, source: FrameSource) -> None:
    from ppdet_lite.runtime.frames.pipeline import FramePipeline
    from ppdet_lite.runtime.frames.results import FrameResults

    results = FrameResults(
        source,
        args.output_dir,
        detector.class_names,
        threshold=_threshold(args, detector),
        save_video=args.save_images,
        save_results=args.save_results,
        category_ids=detector.category_ids,
        options=result_options(args),
    )
    stages = (detector.preprocess, detector.run, results.write)
    size, is_live = args.batch_size, source.is_live
    pipeline = FramePipeline(source, *stages, batch_size=size, is_live=is_live)
    start, is_over = time.perf_counter(), False
    try:
        pipeline.run()
        is_over = True
    finally:  # after Ctrl-C and errors too, so that what was written can be played
        written = results.close()
        seconds = time.perf_counter() - start
        name = f"--{source.option} {source.value}"
        skipped = f", {pipeline.skipped} skipped" if pipeline.skipped else ""
        print(
            f"{name}: {results.count} frames{skipped}, {results.detections} detections, "
            f"{results.count / seconds:.1f} frames/s, written to {', '.join(map(str, written))}"
        )
        if source.length is not None and 0 < results.count < source.length:
            part = f"{name}: of {source.length} frames {results.count} were done"
            if is_over:
                print(f"warning: {part}; the file is cut short or damaged", file=sys.stderr)
            else:
                print(part)


# ---------------------------------------------------------------------------------------- options
def true_or_false(text: str) -> bool:
    """argparse type: true or false in any case."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"found {text}, allowed: true, false")
    return text.lower() == "true"


def number(least: int, most: Optional[int] = None) -> Callable[[str], int]:
    """argparse type: a whole number in a range."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            allowed = f"whole numbers from {least}" + ("" if most is None else f" to {most}")
            raise argparse.ArgumentTypeError(f"found {text}, allowed: {allowed}")
        return value

    return parse


COUNT: dict[str, Any] = {"type": number(1), "metavar": "N"}
FOLDER: dict[str, Any] = {"type": Path, "metavar": "FOLDER"}
OFF: dict[str, Any] = {"nargs": "?", "const": True, "type": true_or_false, "default": False}
OFF["metavar"] = "true|false"
ON = {**OFF, "default": True}
"""An option that is on or off by default: a bare `--name` turns it on, and PaddleDetection's users
write `--name True`."""


def build_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = argparse.ArgumentParser(
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    text = "written by ppdet export"
    parser.add_argument("--model_dir", required=True, metavar="FOLDER", help=text)
    _add_files(parser)
    add_drawing_options(parser)
    add_engines(parser)
    return parser


def _add_files(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("input, one of")
    inputs = group.add_mutually_exclusive_group(required=True)
    add_images(inputs, "image_file", "image_dir")
    add = inputs.add_argument
    add("--video_file", metavar="VIDEO", help="a video file")
    add("--camera_id", type=number(0), metavar="N", help="number of a camera here, from 0")
    add("--rtsp", metavar="URL", help="a stream: rtsp://..., or any other that OpenCV opens")
    text = "stop after N frames of a video, camera or stream"
    group.add_argument("--max_frames", **COUNT, help=text)

    results = parser.add_argument_group("results")
    add = results.add_argument
    add("--output_dir", default="output", metavar="FOLDER", help="results (default: output)")
    text = """lowest score that is drawn and written (default: draw_threshold of infer_cfg.yml);
auto: that of each class with the best F1, the thresholds of infer_cfg.yml"""
    add_threshold(results, text, **SCORE_OR_AUTO)
    add("--save_images", **ON, help="false: no images and no video, JSON only (default: true)")
    text = "also write <output_dir>/bbox.json: all detections in the COCO results format"
    add("--save_results", **OFF, help=text)
    text = "COCO annotations whose image ids bbox.json names (default: it counts from 0)"
    add("--anno_path", type=Path, metavar="JSON", help=text)
    text = "print the times of each stage for the first image instead of writing results"
    add("--run_benchmark", **OFF, help=text)
    add("--repeats", **COUNT, default=20, help="runs of the benchmark")


def add_engines(
    parser: argparse.ArgumentParser, batch_option: str = "--batch_size", batch_size: int = 1
) -> None:
    """Adds the options of `open_detector` but for the model; `batch_size` is that option's default,
    and `batch_option` its name."""
    add = parser.add_argument_group("device and engine").add_argument
    add("--device", default="CPU", type=str.upper, choices=DEVICES, help="default: CPU")
    batch = {**COUNT, "dest": "batch_size", "default": batch_size}
    add(batch_option, **batch, help=f"images per run (default: {batch_size})")
    text = """paddle runs model.json or model.pdmodel, the others the .onnx (default: paddle);
tensorrt and tensorrt_rtx are the packages of these names, with --device GPU"""
    add("--engine", choices=ENGINES, help=text)
    text = """fp16 runs the .onnx that export --precision fp16 wrote, int8 what ppdet quantize
wrote for the engine (default: fp32)"""
    add("--precision", default=PRECISIONS[0], choices=PRECISIONS, help=text)
    names, sides = ("--input_size", "--input-size"), {"nargs": "+", "metavar": ("H", "W")}
    text = """network input, for exports of --input-size dynamic (one number: both; default: that of
infer_cfg.yml)"""
    add(*names, **{**COUNT, **sides}, help=text)
    text = "of ONNX Runtime, with --engine onnxruntime --device GPU (default: cuda)"
    add("--provider", choices=PROVIDERS, help=text)
    text = "one CUDA graph for the whole network, for exports of fixed sizes; engines of .onnx"
    add("--cuda_graph", **OFF, help=f"{text} (default: off)")
    text = "TensorFloat-32: float32 products on GPUs with factors of 10 bits; engines of .onnx"
    add("--tf32", **OFF, help=f"{text} (default: off)")
    add("--use_openvino", **OFF, help="the same as --engine openvino")
    threads = {**COUNT, "type": number(1, MOST_THREADS), "default": DEFAULT_THREADS}
    add("--cpu_threads", **threads, help=f"CPU threads (default here: {DEFAULT_THREADS})")
    add("--enable_mkldnn", **ON, help="oneDNN kernels on the CPU (default: on)")
    add("--no-mkldnn", dest="enable_mkldnn", action="store_false", help="without oneDNN kernels")
    text = "oneDNN in bfloat16, on CPUs with instructions for it (default: off)"
    add("--enable_mkldnn_bfloat16", **OFF, help=text)

    add = parser.add_argument_group("TensorRT, with --device GPU").add_argument
    add("--run_mode", default="paddle", choices=RUN_MODES, help="default: paddle, no TensorRT")
    text = "built engines and calibration tables (default: trt_cache in the model folder)"
    add("--trt_cache_dir", dest="cache_dir", **FOLDER, help=text)
    text = "images from which trt_int8 learns its value ranges on its first run"
    add("--calib_dir", **FOLDER, help=text)
    for name, meaning in (
        ("min", "smallest side of a model whose input size is open"),
        ("opt", "side that such a model is tuned for"),
        ("max", "its largest side"),
    ):
        side = {"dest": f"{name}_side", "default": getattr(TensorRTOptions, f"{name}_side")}
        text = f"{meaning} (default: {side['default']})"
        add(f"--trt_{name}_shape", **{**COUNT, "metavar": "PX"}, **side, help=text)
