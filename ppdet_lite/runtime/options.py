"""The command line of infer.py; nothing heavy is imported, so `--help` answers at once.

Options are named as in PaddleDetection's script where it has them.
"""

import argparse

from ppdet_lite.utils.cpu import core_count

DEVICES = ("CPU", "GPU", "XPU")
ENGINES = ("paddle", "onnxruntime", "openvino")
RUN_MODES = ("paddle", "trt_fp32", "trt_fp16", "trt_int8")
TRT_SIDES = {"min": 320, "opt": 640, "max": 1280}
"""Pixels of a model whose input size is open, unless others are asked for."""
SOURCES = ("image_file", "image_dir", "video_file", "camera_id", "rtsp")

DEFAULT_THREADS = min(core_count(), 8)
"""More threads seldom help a single image."""
MOST_THREADS = 1024

DESCRIPTION = (
    "Runs an exported model on images, a video, a camera or a stream; draws what it finds and "
    "writes it as JSON."
)

EXAMPLES = """examples:
  python deploy/python/infer.py --model_dir output_inference/ppyolov2_r50vd_dcn_365e_coco \\
      --image_file demo.jpg --device CPU
  ... --image_dir photos --output_dir output/photos    a folder with its sub-folders
  ... --video_file street.mp4                          output/street.mp4 and a line of JSON a frame
  ... --camera_id 0 --max_frames 300                   Ctrl-C ends it as well, the video is whole
  ... --rtsp rtsp://user:password@10.0.0.7/stream1     a network camera
  ... --threshold 0.3 --save_results                   more detections; all of them in bbox.json
  ... --device GPU --run_mode trt_fp16 --batch_size 8  TensorRT; its engine is built once
  ... --engine onnxruntime                             the .onnx of --format onnx
  ... --image_file demo.jpg --run_benchmark            times of each stage
"""


def build_parser() -> argparse.ArgumentParser:
    """All options of infer.py."""
    parser = argparse.ArgumentParser(
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model_dir", required=True, metavar="FOLDER", help="written by tools/export_model.py"
    )
    _add_sources(parser)
    _add_results(parser)
    _add_engines(parser)
    _add_tensorrt(parser)
    return parser


def _switches() -> tuple[dict, dict]:
    """Arguments of an option that is on or off by default: a bare `--name` turns it on, and
    PaddleDetection's users write `--name True`."""
    switch = {"nargs": "?", "const": True, "type": true_or_false, "metavar": "true|false"}
    return {**switch, "default": True}, {**switch, "default": False}


def _add_sources(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("input, one of")
    add = group.add_mutually_exclusive_group(required=True).add_argument
    add("--image_file", nargs="+", metavar="IMAGE", help="one or more images")
    add("--image_dir", metavar="FOLDER", help="all images below a folder")
    add("--video_file", metavar="VIDEO", help="a video file")
    add("--camera_id", type=whole, metavar="N", help="number of a camera of this machine, from 0")
    add("--rtsp", metavar="URL", help="a stream: rtsp://..., or any other that OpenCV opens")
    group.add_argument(
        "--max_frames",
        type=positive,
        metavar="N",
        help="stop after N frames of a video, camera or stream",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("results").add_argument
    on, off = _switches()
    add("--output_dir", default="output", metavar="FOLDER", help="results (default: output)")
    add(
        "--threshold",
        type=float,
        metavar="SCORE",
        help="lowest score that is drawn and written (default: draw_threshold of infer_cfg.yml)",
    )
    add("--save_images", **on, help="false: no images and no video, JSON only (default: true)")
    add(
        "--save_results",
        **off,
        help="also write <output_dir>/bbox.json: all detections in the COCO results format",
    )
    add(
        "--run_benchmark",
        **off,
        help="print the times of each stage for the first image instead of writing results",
    )
    add("--repeats", type=positive, default=20, metavar="N", help="runs of the benchmark")


def _add_engines(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("device and engine").add_argument
    on, off = _switches()
    add("--device", default="CPU", type=str.upper, choices=DEVICES, help="default: CPU")
    add("--batch_size", type=positive, default=1, metavar="N", help="images per run (default: 1)")
    add(
        "--engine",
        choices=ENGINES,
        help="paddle runs model.json or model.pdmodel, the others the .onnx (default: paddle)",
    )
    add(
        "--input_size",
        "--input-size",
        nargs="+",
        type=positive,
        metavar=("H", "W"),
        help="network input, for exports of --input-size dynamic (one number: both; default: that "
        "of infer_cfg.yml)",
    )
    add("--use_openvino", **off, help="the same as --engine openvino")
    add(
        "--cpu_threads",
        type=threads,
        default=DEFAULT_THREADS,
        metavar="N",
        help=f"CPU threads (default here: {DEFAULT_THREADS})",
    )
    add("--enable_mkldnn", **on, help="oneDNN kernels on the CPU (default: on)")
    add("--no-mkldnn", dest="enable_mkldnn", action="store_false", help="without oneDNN kernels")
    add(
        "--enable_mkldnn_bfloat16",
        **off,
        help="oneDNN in bfloat16, on CPUs with instructions for it (default: off)",
    )


def _add_tensorrt(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("TensorRT, with --device GPU").add_argument
    add("--run_mode", default="paddle", choices=RUN_MODES, help="default: paddle, no TensorRT")
    add(
        "--trt_cache_dir",
        metavar="FOLDER",
        help="built engines and calibration tables (default: trt_cache in the model folder)",
    )
    add(
        "--calib_dir",
        metavar="FOLDER",
        help="images from which trt_int8 learns its value ranges on its first run",
    )
    for name, default in TRT_SIDES.items():
        add(
            f"--trt_{name}_shape",
            type=positive,
            default=default,
            metavar="PX",
            help=f"{name}imum side of a model whose input size is open (default: {default})"
            if name != "opt"
            else f"side that such a model is tuned for (default: {default})",
        )


def true_or_false(text: str) -> bool:
    """argparse type: true or false in any case."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"found {text}, allowed: true, false")
    return text.lower() == "true"


def threads(text: str) -> int:
    """argparse type: a number of threads; OpenMP ends the process where it cannot start them."""
    return _at_least(1, text, MOST_THREADS)


def positive(text: str) -> int:
    """argparse type: a whole number from 1."""
    return _at_least(1, text)


def whole(text: str) -> int:
    """argparse type: a whole number from 0."""
    return _at_least(0, text)


def _at_least(least: int, text: str, most: float = float("inf")) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        up_to = "" if most == float("inf") else f" to {most}"
        raise argparse.ArgumentTypeError(
            f"found {text}, allowed: whole numbers from {least}{up_to}"
        )
    return value
