"""Prints parameters and GFLOPs of a configuration's network, by part or layer by layer."""

import argparse

from ppdet_lite.cli.tool import config_from_args, config_parser

EXAMPLES = """  ppdet model-info -c ppyolov2_r50vd_dcn_365e_coco
  ... --input-size 608                   another input; two numbers are height and width
  ... --depth 2                          a line per stage of the backbone and block of the neck
  ... --per-layer --sort                 a line per layer, the most expensive first
  ... --json info.json                   exact counts of all layers, for other programs
  ... -o num_classes=3 width_mult=0.5    of a changed network

how it counts:
  One image through backbone, neck and head; decoding and NMS are left out. No weights are needed.
  GFLOPs are 10^9 multiply-adds of convolutions and linear layers, a multiply-add counting once, as
  in the PP-YOLO papers (YOLOX and darknet count two). Batch norms, which inference engines fold
  into convolutions, and the sampling of deformable convolutions are stated apart; biases,
  activations, pooling and enlarging are not counted. The PP-YOLO papers leave out the products of
  deformable convolutions as well, and the table of PP-YOLO is in units of 2^30 and 2^20: the last
  lines give these figures, too. docs/reproduction.md compares them with the papers.
  Params are all values that are saved, the running statistics of batch norms included.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = config_parser(__doc__, EXAMPLES)
    parser.add_argument(
        "--input-size",
        nargs="+",
        type=int,
        default=[],
        metavar="PIXELS",
        help="height and width of the network input, or one number for both "
        "(default: TestReader.inputs_def.image_shape)",
    )
    lines = parser.add_mutually_exclusive_group()
    lines.add_argument(
        "--depth",
        type=int,
        default=1,
        metavar="N",
        help="parts of the layer names that make a line (default: 1, backbone, neck, head)",
    )
    lines.add_argument(
        "--per-layer", dest="depth", action="store_const", const=None, help="a line per layer"
    )
    parser.add_argument("--sort", action="store_true", help="the most expensive line first")
    parser.add_argument("--json", metavar="FILE", help="also write everything to this file")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    cfg = config_from_args(args)
    from ppdet_lite.benchmark.model_report import run_model_info

    run_model_info(cfg, args.input_size, args.depth, sort=args.sort, json=args.json)
