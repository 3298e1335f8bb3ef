"""Draws the weights with which ASFF fuses its levels over images, as in the figure of its paper."""

import argparse

from ppdet_lite.cli.inputs import add_images, add_threshold
from ppdet_lite.cli.tool import add_offline, config_from_args, config_parser

EXAMPLES = """  ppdet asff-weights -c yolov3_asff_coco \\
      -o weights=output/yolov3_asff_coco/best_model --image demo.jpg
  ... --image_dir photos --output_dir output/fusion    a folder with its sub-folders

For photos/trip/a.jpg this writes output/fusion/trip/a_fusion.jpg and a_fusion.json: a row for each
level of the neck, a column for each level that it is made of.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = config_parser(__doc__, EXAMPLES)
    add_offline(parser)
    add_images(parser.add_mutually_exclusive_group(required=True))
    add = parser.add_argument
    add("--output_dir", default="output", metavar="FOLDER", help="results (default: output)")
    text = "lowest score of detections that are drawn (default: 0.5)"
    add_threshold(parser, text, default=0.5)
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    cfg = config_from_args(args)
    from ppdet_lite.evaluate.fusion_weights import draw_fusion_weights

    draw_fusion_weights(
        cfg,
        infer_img=args.infer_img or (),
        infer_dir=args.infer_dir,
        output_dir=args.output_dir,
        draw_threshold=args.threshold,
    )
