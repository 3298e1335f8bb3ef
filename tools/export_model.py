#!/usr/bin/env python3
"""Exports a trained model for deployment and checks the export against the model."""

import argparse
import sys
from pathlib import Path
from typing import Union

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ppdet_lite.cli.tool import config_from_args, config_parser, run_tool  # noqa: E402
from ppdet_lite.export.options import DYNAMIC, ExportOptions  # noqa: E402
from ppdet_lite.runtime.contract import STAGES, TARGETS  # noqa: E402

EXAMPLES = """  python tools/export_model.py -c configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml \\
      -o weights=output/ppyolov2_r50vd_dcn_365e_coco/best_model --output_dir output_inference
  ... --format paddle onnx --portable-dcn    also model.onnx, and model_portable.onnx for OpenVINO
  ... --target cpu                           the fastest form for CPUs
  ... --input-size 320 320 --batch 1         another input size; exactly one image per run
  ... --input-size dynamic                   any height and width that are multiples of 32
  ... --verify photos a.jpg                  check on your own images

This writes output_inference/<config name>/ for deploy/python/infer.py: infer_cfg.yml and
  paddle          model.json (Paddle 3; model.pdmodel from Paddle 2) and model.pdiparams
  paddle-legacy   model.pdmodel and model.pdiparams, which Paddle 2 reads too
  onnx            model.onnx, opset 19, with this model's own NMS in standard operators
Batch norms are folded into the convolutions. The batch size stays free unless --batch says
otherwise. The export is then run by the real engines (Paddle Inference, ONNX Runtime, OpenVINO if
it is installed) and its boxes are compared with the trained model's; if they differ, the exit code
is 1 and nothing is left behind.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = config_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add(
        "--output_dir",
        default="output_inference",
        metavar="FOLDER",
        help="parent of the folder that is written (default: output_inference)",
    )
    add(
        "--format",
        dest="formats",
        nargs="+",
        default=["paddle"],
        metavar="FORMAT",
        help="one or more of paddle, paddle-legacy, onnx and those of your custom_modules "
        "(default: paddle)",
    )
    _add_graph_options(parser)
    add(
        "--verify",
        nargs="+",
        default=[],
        metavar="IMAGE",
        help="images or folders to compare on (default: a built-in image)",
    )
    return parser


def _add_graph_options(parser: argparse.ArgumentParser) -> None:
    """Adds what the graph takes, where it ends and how it is written."""
    add = parser.add_argument
    add(
        "--input-size",
        "--input_size",
        nargs="+",
        type=number_or_dynamic,
        metavar=("H", "W"),
        help="height and width of the network input (one number: both), or 'dynamic' (default: "
        "TestReader.inputs_def.image_shape of the configuration)",
    )
    add(
        "--batch",
        type=number_or_dynamic,
        default=DYNAMIC,
        metavar="N",
        help="images per run, or 'dynamic' (default)",
    )
    add(
        "--stage",
        choices=STAGES,
        default="",
        help="where the graph ends: raw outputs of the head, decoded boxes and scores, or "
        "detections after NMS (default: nms, or what the section `export` of the configuration "
        "says); other stages than nms go to <config name>_<stage>",
    )
    add(
        "--portable-dcn",
        "--portable_dcn",
        action="store_true",
        help="with --format onnx: also model_portable.onnx, whose deformable convolutions are "
        "written as GridSample and Conv",
    )
    add(
        "--target",
        choices=TARGETS,
        default="any",
        help="cpu: convolutions written in the form that is fastest on CPUs, for one input size; "
        "the same boxes, larger files, not for GPUs; a network in which no layer gains is written "
        "as with any; deploy/README.md says what it gains (default: any)",
    )


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
    from ppdet_lite.export.run import export_model

    options = ExportOptions(
        formats=args.formats,
        input_size=args.input_size,
        batch=args.batch,
        stage=args.stage,
        portable_dcn=args.portable_dcn,
        target=args.target,
    )
    export_model(cfg, args.output_dir, options, verify=args.verify)


if __name__ == "__main__":
    run_tool(main, build_parser())
