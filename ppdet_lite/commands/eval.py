"""Evaluates a trained model: COCO AP (or VOC mAP) on the configuration's EvalDataset."""

import argparse

from ppdet_lite.cli.tool import add_offline, config_from_args, config_parser
from ppdet_lite.evaluate.views.options import add_view_options, view_settings

EXAMPLES = """  ppdet eval -c ppyolov2_r50vd_dcn_365e_coco \\
      -o weights=output/ppyolov2_r50vd_dcn_365e_coco/best_model
  ... --classwise                      one line per class
  ... --output_eval results            write the detections to results/bbox.json (COCO format)
  ... --output_eval results --json_eval    evaluate results/bbox.json again, without the network
  ... --slice_infer --slice_size 640   large images in tiles (docs/large_images.md)
  ... --tta                            flipped and scaled copies, too
  ... --bias                           for the released PP-YOLO weights that need it (not v2)
  python -m paddle.distributed.launch --gpus 0,1 $(which ppdet) eval -c ...  on 2 GPUs
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = config_parser(__doc__, EXAMPLES)
    add_offline(parser)
    add = parser.add_argument
    add("--classwise", action="store_true", help="also print AP class by class")
    text = """where bbox.json is written or, with --json_eval, read (default: <save_dir>/<config
name>)"""
    add("--output_eval", metavar="FOLDER", help=text)
    text = "compute the metric of an existing bbox.json instead of running the network"
    add("--json_eval", action="store_true", help=text)
    text = "add one pixel to widths and heights of detections (same as -o bias=1)"
    add("--bias", action="store_true", help=text)
    add_view_options(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    if args.bias:
        args.opt.append("bias=1")
    cfg = config_from_args(args)
    from ppdet_lite.evaluate.run import run_evaluation

    run_evaluation(
        cfg,
        classwise=True if args.classwise else None,
        json_eval=args.json_eval,
        output_eval=args.output_eval,
        views=view_settings(args),
    )
