"""Quantizes an exported model to INT8, for CPUs or for TensorRT, and measures its speed on CPUs and
its AP beside float32."""

import argparse

from ppdet_lite.cli.tool import add_offline, config_from_args, config_parser
from ppdet_lite.runtime.contract import STAGES
from ppdet_lite.runtime.options import DEFAULT_THREADS, INT8_ENGINES

EXAMPLES = """  ppdet quantize -c ppyolov2_r50vd_dcn_365e_coco \\
      -o weights=output/ppyolov2_r50vd_dcn_365e_coco/best_model --calib_dir photos --verify_dataset
  ... --engine onnxruntime     ONNX Runtime's own quantization, for ONNX Runtime
  ... --engine tensorrt        for GPUs: TensorRT and TensorRT for RTX
  ... --max_drop 0.5           layers return to float32 until at most 0.5 AP are lost (OpenVINO)
  ppdet deploy --model_dir output_inference/ppyolov2_r50vd_dcn_365e_coco \\
      --engine openvino --precision int8 --image demo.jpg
  ppdet deploy --model_dir output_inference/ppyolov2_r50vd_dcn_365e_coco_nms_fixed \\
      --device GPU --engine tensorrt --precision int8 --image demo.jpg

This adds to output_inference/<config name>/, which is exported first where it is not there:
  openvino      model_int8.xml and model_int8.bin, by NNCF
  onnxruntime   model_int8.onnx
  tensorrt      model_tensorrt_int8.onnx, also for --engine tensorrt_rtx and both as --provider of
                ONNX Runtime; to output_inference/<config name>_nms_fixed, as TensorRT takes no
                other NMS. Depthwise convolutions stay in float32 as well
Decoding and NMS, deformable convolutions and the last convolutions of the head stay in float32.
docs/quantization.md says how much faster it is, and what it costs.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = config_parser(__doc__, EXAMPLES)
    add_offline(parser)
    add = parser.add_argument
    text = "parent of the export's folder (default: output_inference)"
    add("--output_dir", default="output_inference", metavar="FOLDER", help=text)
    text = f"runs the files, and decides on the library (default: {INT8_ENGINES[0]})"
    add("--engine", default=INT8_ENGINES[0], choices=(*INT8_ENGINES, "paddle"), help=text)
    text = "photos from which the ranges of values are learned, at least 100 (default: those of "
    text += "TrainDataset)"
    add("--calib_dir", "--calib-dir", metavar="FOLDER", help=text)
    text = "number of them, evenly spread (default: 128, at least 100 of which have to be there)"
    add("--calib_images", "--calib-images", type=int, metavar="N", help=text)
    text = "AP of both precisions on EvalDataset"
    add("--verify_dataset", "--verify-dataset", action="store_true", help=text)
    text = "AP, in points, that may be lost on EvalDataset: layers return to float32, the one that "
    text += "costs most first, until it holds; takes long (default: no such search)"
    add("--max_drop", "--max-drop", type=float, metavar="AP", help=text)
    text = (
        "where the graph ends (default: nms, for tensorrt nms_fixed); others are for the benchmark"
    )
    add("--stage", choices=STAGES, help=text)
    text = f"CPU threads of the measurement (default here: {DEFAULT_THREADS})"
    add("--threads", type=int, default=DEFAULT_THREADS, metavar="N", help=text)
    add("--repeats", type=int, default=20, metavar="N", help="rounds of it (default: 20)")
    add("--json", metavar="FILE", help="write all that was measured")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    cfg = config_from_args(args)
    from ppdet_lite.quantize.run import QuantizeOptions, quantize_model
    from ppdet_lite.utils.files import check_writable, write_json

    names = "engine stage calib_dir calib_images verify_dataset max_drop threads repeats".split()
    options = QuantizeOptions(**{name: getattr(args, name) for name in names})
    if args.json:
        check_writable(args.json)
    report = quantize_model(cfg, args.output_dir, options)
    print(report.text())
    if args.json:
        write_json(args.json, report.as_dict())
