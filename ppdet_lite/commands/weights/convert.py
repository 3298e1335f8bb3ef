"""Converts weights of other projects into weights of this one."""

import argparse
from pathlib import Path

from ppdet_lite.cli.tool import tool_parser

EXAMPLES = """  ppdet weights convert yolox_nano.pth --output weights/yolox_nano.pdparams
  ppdet weights convert yolox_nano.pth --output weights/yolox_nano.pdparams \\
      -c yolox_nano_upstream_coco    also check that they fit
  ppdet weights convert yolov4.weights --cfg yolov4.cfg --output weights/yolov4.pdparams

Files of YOLOX's and ASFF's authors (.pth, .pth.tar, .safetensors, .npz), of darknet (.weights), and
.safetensors with the names of this package. Nothing that a file holds is executed. A report says
what was read and left out and, with -c, which tensors of that network the file fills.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = tool_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("file", metavar="FILE", help="weights of another project")
    add("--output", required=True, metavar="FILE", help="where to write, a .pdparams")
    text = "the project that FILE comes from; default: found by its ending and its tensors"
    add("--from", dest="source", metavar="NAME", help=text)
    text = "darknet's file of the network; default: the network whose numbers fill FILE"
    add("--cfg", metavar="FILE", help=text)
    add("-c", "--config", metavar="FILE", help="configuration whose network the weights must fill")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.weights.checkpoint import save_checkpoint
    from ppdet_lite.weights.convert.converter import conversion_of

    cfg = Path(args.cfg) if args.cfg else None
    conversion = conversion_of(Path(args.file), args.source, cfg)
    output = Path(args.output)
    stem = output.stem if output.suffix == ".pdparams" else output.name
    meta = {"converted_from": Path(args.file).name, "converter": conversion.converter}
    path = save_checkpoint(str(output.parent), stem, conversion.state, meta)
    print("\n".join([f"{args.file}: {conversion.lines()[0]}", *conversion.lines()[1:]]))
    print(f"{path}.pdparams: {len(conversion.state)} tensors")
    if args.config:
        from ppdet_lite.core.workspace import load_config
        from ppdet_lite.evaluate.trained_model import load_trained_model

        load_trained_model(load_config(args.config, [f"weights={path}"]))
