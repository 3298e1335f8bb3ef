"""Detects objects on images with a trained model and draws them; a JSON lies beside each."""

import argparse

from ppdet_lite.cli.drawing_options import add_drawing_options, result_options
from ppdet_lite.cli.inputs import SCORE_OR_AUTO, add_images, add_threshold
from ppdet_lite.cli.tool import add_offline, config_from_args, config_parser
from ppdet_lite.evaluate.views.options import add_view_options, view_settings

EXAMPLES = """  ppdet infer -c ppyolov2_r50vd_dcn_365e_coco \\
      -o weights=output/ppyolov2_r50vd_dcn_365e_coco/best_model --image demo.jpg
  ... --image_dir photos --output_dir output/photos    a folder with its sub-folders
  ... --threshold 0.3                                  show less certain detections, too
  ... --classes person car --crop        only these, each object also as an image of its own
  ... --numbers                          for crowds: numbers in the image, names beside it
  ... --threshold auto                                 for each class its own, best by F1
  ... --slice_infer --slice_size 640     large images in tiles (docs/large_images.md)
  ... --save_results                                   all detections in output/photos/bbox.json

For photos/trip/a.jpg this writes output/photos/trip/a.jpg (with boxes) and trip/a.json (class,
score and box [x1, y1, x2, y2] in pixels). The class names come from the weights.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = config_parser(__doc__, EXAMPLES)
    add_offline(parser)
    add_images(parser.add_mutually_exclusive_group(required=True))
    add = parser.add_argument
    add("--output_dir", default="output", metavar="FOLDER", help="results (default: output)")
    text = """lowest score that is drawn and written (default: 0.5); auto: that of each class with
the best F1 in the evaluation that the weights are stored with"""
    add_threshold(parser, text, default=0.5, **SCORE_OR_AUTO)
    text = "also write <output_dir>/bbox.json: all detections in the COCO results format"
    add("--save_results", action="store_true", help=text)
    add_drawing_options(parser)
    add_view_options(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    cfg = config_from_args(args)
    from ppdet_lite.evaluate.predictor import run_inference

    run_inference(
        cfg,
        infer_img=args.infer_img or (),
        infer_dir=args.infer_dir,
        output_dir=args.output_dir,
        draw_threshold=args.threshold,
        save_results=args.save_results,
        options=result_options(args),
        views=view_settings(args),
    )
