"""Exports a trained model for deployment and checks the export against the model."""

import argparse
from pathlib import Path
from typing import Any, Union

from ppdet_lite.cli.tool import add_offline, config_from_args, config_parser
from ppdet_lite.export.options import DYNAMIC, PRECISIONS, ExportOptions
from ppdet_lite.runtime.contract import STAGES, TARGETS

EXAMPLES = """  ppdet export -c ppyolov2_r50vd_dcn_365e_coco \\
      -o weights=output/ppyolov2_r50vd_dcn_365e_coco/best_model --output_dir output_inference
  ... --format paddle onnx --portable-dcn    also model.onnx, and model_portable.onnx for OpenVINO
  ... --format onnx --precision fp16         also model_fp16.onnx, for GPUs
  ... --target cpu                           the fastest form for CPUs
  ... --input-size 320 320 --batch 1         another input size; exactly one image per run
  ... --input-size dynamic                   any height and width that are multiples of 32
  ... --stage nms_fixed --format onnx --portable-dcn    image to detections for TensorRT
  ... --verify photos a.jpg                  check on your own images
  ... --format onnx --portable-dcn --stage nms_fixed --triton models    a repository for Triton
  ... --format onnx --dockerfile image       a folder for docker build, with ppdet serve

This writes output_inference/<config name>/ for ppdet deploy: infer_cfg.yml and
  paddle          model.json (Paddle 3; model.pdmodel from Paddle 2) and model.pdiparams
  paddle-legacy   model.pdmodel and model.pdiparams, which Paddle 2 reads too
  onnx            model.onnx, opset 19, with this model's own NMS in standard operators; with
                  --precision fp16 also model_fp16.onnx
Batch norms are folded into the convolutions. The batch size stays free unless --batch says
otherwise. The export is then run by the real engines (Paddle Inference, ONNX Runtime, OpenVINO if
it is installed) and its boxes are compared with the trained model's; if they differ, the exit code
is 1 and nothing is left behind.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = config_parser(__doc__, EXAMPLES)
    add_offline(parser)
    add = parser.add_argument
    size: dict[str, Any] = {"type": number_or_dynamic}
    text = "parent of the folder that is written (default: output_inference)"
    add("--output_dir", default="output_inference", metavar="FOLDER", help=text)
    text = "one or more of paddle, paddle-legacy, onnx and those of your custom_modules (default: "
    text += "paddle)"
    formats: dict[str, Any] = {"dest": "formats", "nargs": "+", "metavar": "FORMAT"}
    add("--format", default=["paddle"], help=text, **formats)
    text = "height and width of the network input (one number: both), or 'dynamic' (default: "
    text += "TestReader.inputs_def.image_shape of the configuration)"
    add("--input-size", "--input_size", nargs="+", metavar=("H", "W"), help=text, **size)
    text = "images per run, or 'dynamic' (default)"
    add("--batch", default=DYNAMIC, metavar="N", help=text, **size)
    text = "where the graph ends: raw outputs of the head, decoded boxes and scores, or detections "
    text += "after NMS (default: nms, or what the section `export` of the configuration says); "
    text += "nms_fixed gives keep_top_k rows for every image, for TensorRT and other compilers of "
    text += "static graphs; other stages than nms go to <config name>_<stage>"
    add("--stage", choices=STAGES, default="", help=text)
    text = "with --format onnx: also model_portable.onnx, whose deformable convolutions are "
    text += "written as GridSample and Conv"
    add("--portable-dcn", "--portable_dcn", action="store_true", help=text)
    text = "cpu: convolutions written in the form that is fastest on CPUs, for one input size; the "
    text += "same boxes, larger files, not for GPUs; a network in which no layer gains is written "
    text += "as with any; deploy/README.md says what it gains (default: any)"
    add("--target", choices=TARGETS, default="any", help=text)
    text = "fp16: beside each .onnx also its twin in float16 for GPUs, half the size; sampling of "
    text += "deformable convolutions, decoding and NMS, inputs and outputs stay float32 (default: "
    text += "fp32)"
    add("--precision", choices=PRECISIONS, default=PRECISIONS[0], help=text)
    text = "images on which overflow in float16 is looked for; such layers stay in float32 "
    text += "(default: up to 32 of EvalDataset)"
    add("--calib_dir", "--calib-dir", metavar="FOLDER", help=text)
    text = "images or folders to compare on (default: a built-in image)"
    add("--verify", nargs="+", default=[], metavar="IMAGE", help=text)
    text = (
        "also write the model into a repository for Triton Inference Server, for its backends of "
    )
    text += "ONNX Runtime (--format onnx) and Paddle (--format paddle-legacy)"
    add("--triton", metavar="FOLDER", help=text)
    text = (
        "also write Dockerfile.cpu and Dockerfile.gpu of ppdet serve, and all that they need, into "
    )
    text += "a new folder"
    add("--dockerfile", metavar="FOLDER", help=text)
    return parser


def number_or_dynamic(text: str) -> Union[int, str]:
    """argparse type: a whole number, or the word dynamic."""
    try:
        return text if text == DYNAMIC else int(text)
    except ValueError as error:
        message = f"found {text}, allowed: a whole number, or {DYNAMIC}"
        raise argparse.ArgumentTypeError(message) from error


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    cfg = config_from_args(args)
    from ppdet_lite.export.folder import check_apart
    from ppdet_lite.export.run import export_folder, export_model
    from ppdet_lite.export.serving.docker import write_context
    from ppdet_lite.export.serving.triton import check_options, write_repository

    names = "formats input_size batch stage portable_dcn target precision calib_dir".split()
    options = ExportOptions(**{name: getattr(args, name) for name in names})
    stage = options.for_config(cfg).stage
    if args.triton:
        check_options(options.formats, stage)
    for option in ("triton", "dockerfile"):
        if target := getattr(args, option):
            check_apart(option, Path(target), export_folder(cfg, args.output_dir, stage))
    folder = export_model(cfg, args.output_dir, options, verify=args.verify)
    if args.triton:
        write_repository(folder, args.triton)
    if args.dockerfile:
        write_context(folder, args.dockerfile)
