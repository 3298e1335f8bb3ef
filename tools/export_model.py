#!/usr/bin/env python3
"""Exports a trained model for Paddle Inference and checks the export against the model."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ppdet_lite.core.cli import config_from_args, config_parser, run_tool  # noqa: E402

EXAMPLES = """  python tools/export_model.py -c configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml \\
      -o weights=output/ppyolov2_r50vd_dcn_365e_coco/best_model --output_dir output_inference
  ... -o TestReader.inputs_def.image_shape=[3,320,320]    another input size
  ... --verify photos a.jpg                               check on your own pictures

This writes output_inference/<config name>/: model.json (Paddle 3; model.pdmodel with Paddle 2),
model.pdiparams and infer_cfg.yml, for deploy/python/infer.py. Batch size stays free, height and
width are fixed. The export is then run by the real predictor and its boxes are compared with the
trained model's; if they differ, the exit code is 1 and nothing is left behind.
"""


def main() -> int:
    parser = config_parser(__doc__, EXAMPLES)
    parser.add_argument(
        "--output_dir",
        default="output_inference",
        metavar="FOLDER",
        help="parent of the folder that is written (default: output_inference)",
    )
    parser.add_argument(
        "--verify",
        nargs="+",
        default=[],
        metavar="PICTURE",
        help="pictures or folders to compare on (default: a built-in picture)",
    )
    args = parser.parse_args()
    cfg = config_from_args(args)
    from ppdet_lite.engine.export import ExportMismatch, export_model

    try:
        export_model(cfg, args.output_dir, verify=args.verify)
    except ExportMismatch as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    run_tool(main)
