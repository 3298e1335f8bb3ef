"""Measures how fast a network is in every engine of this machine, as the papers' tables do."""

import argparse
import os
import sys

from ppdet_lite.cli.tool import add_offline, config_from_args, config_parser
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.runtime.contract import STAGES
from ppdet_lite.utils.cpu import core_count, prefer_fast_blas

EXAMPLES = """  ppdet benchmark -c ppyolov2_r50vd_dcn_365e_coco \\
      -o weights=output/ppyolov2_r50vd_dcn_365e_coco/best_model --json output/benchmark.json
  ... --random-weights                      where nothing is trained yet
  ... --engines onednn onednn_target_cpu    some of the engines below
  ... --input-size 320 --threads 4          another size of the network input, more threads
  ... --images photos --calib_dir photos    your own JPEGs; trt_int8 learns its ranges from them
  ... --against yolox_l.onnx rtdetr.onnx    other detectors, in every engine that reads .onnx; their
                                            inputs are filled by name and shape
  ppdet benchmark --model_dir output_inference/raw output_inference/nms
                                            folders of ppdet export instead; what their
                                            --target was decides which engines run them

Engines, of which * run without being asked for:
  onednn*             onnxruntime*            openvino*             paddle  onednn_bfloat16
  onednn_target_cpu*  onnxruntime_target_cpu  openvino_target_cpu*  exports with --target cpu
  onnxruntime_int8        openvino_int8        with --model_dir: files of ppdet quantize
  gpu*  gpu_fp16*  trt_fp32*  trt_fp16*  trt_int8*                  Paddle on a GPU
  cuda_fp32*  cuda_tf32*  cuda_fp16*                                ONNX Runtime on a GPU
  tensorrt_fp32*  tensorrt_tf32*  tensorrt_fp16*  tensorrt_int8*    TensorRT
  tensorrt_rtx_fp32  tensorrt_rtx_tf32  tensorrt_rtx_fp16  tensorrt_rtx_int8   TensorRT for RTX
  ort_tensorrt_fp32  ort_tensorrt_tf32  ort_tensorrt_fp16  ort_tensorrt_int8   both as providers
  ort_tensorrt_rtx_fp32  ort_tensorrt_rtx_tf32  ort_tensorrt_rtx_fp16  ort_tensorrt_rtx_int8
                                            of ONNX Runtime
With _graph behind, those from cuda_ on launch the network as one CUDA graph; their NMS is
the one of a fixed size.

One image at a time, or --batch-size. The network alone is the figure of the papers' tables;
decoding, NMS and the way from the JPEG file come beside it. The engines take turns, so all stages
of all engines are in memory at once, each with about twice the size of its export; --stages raw nms
takes a third less. --stages raw nms nms_fixed compares NMS of a fixed size with the usual one.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = config_parser(__doc__, EXAMPLES, config_required=False)
    add_offline(parser)
    add = parser.add_argument
    add("--random-weights", action="store_true", help="instead of -o weights=...")
    add("--model_dir", nargs="+", default=[], metavar="FOLDER", help="exports, instead of weights")
    add("--engines", nargs="+", default=[], metavar="NAME", help="default: those with * below")
    add("--stages", nargs="+", default=list(STAGES[:3]), choices=STAGES)
    add("--input-size", nargs="+", type=int, default=[], metavar="PX", help="a side, or H W")
    add("--images", nargs="+", default=[], metavar="JPEG", help="files or folders")
    add("--batch-size", type=int, default=1, metavar="N", help="images at once (default: 1)")
    add("--against", nargs="+", default=[], metavar="ONNX", help="files of other detectors")
    text = "images for the ranges of float16 and INT8; needed for trt_int8"
    add("--calib_dir", metavar="FOLDER", help=text)
    add("--repeats", type=int, default=20, metavar="N", help="rounds that count (default: 20)")
    add("--warmup", type=int, default=3, metavar="N", help="runs before (default: 3)")
    add("--threads", type=int, default=core_count(), metavar="N", help="CPU threads")
    add("--output_dir", metavar="FOLDER", help="keep the exports there")
    add("--json", metavar="FILE", help="write all times, round by round")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    if not args.config and not args.model_dir:
        raise ConfigError("give -c CONFIG, or --model_dir with exported folders")
    if (args.opt or args.print_config) and not args.config:
        raise ConfigError("-o and --print-config are about a configuration: give -c CONFIG as well")
    for library in ("OPENBLAS", "MKL"):  # numpy's matrix products, for the machine's peak
        os.environ[f"{library}_NUM_THREADS"] = str(args.threads)
    cfg = config_from_args(args) if args.config else None
    prefer_fast_blas()
    from ppdet_lite.benchmark.inference_benchmark import InferenceOptions, benchmark_inference

    options = InferenceOptions(**{key: getattr(args, key) for key in InferenceOptions._fields})
    print(benchmark_inference(cfg, options, lambda text: print(text, file=sys.stderr)))
