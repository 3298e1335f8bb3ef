"""Converts weights of other projects into weights of this one."""

import argparse
import re
from pathlib import Path

from ppdet_lite.cli.tool import tool_parser
from ppdet_lite.core.errors import UserError

EXAMPLES = """  ppdet weights convert yolox_nano.pth    writes yolox_nano.pdparams beside it
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
    text = "where to write, a .pdparams (default: beside FILE with its name, if none is there)"
    add("--output", metavar="FILE", help=text)
    text = "the project that FILE comes from; default: found by its ending and its tensors"
    add("--from", dest="source", metavar="NAME", help=text)
    text = "darknet's file of the network; default: the network whose numbers fill FILE"
    add("--cfg", metavar="FILE", help=text)
    add("-c", "--config", metavar="FILE", help="configuration whose network the weights must fill")
    return parser


def default_output(file: Path) -> Path:
    """Returns the .pdparams of the same name beside a file.

    Raises:
        UserError: it is there already.
    """
    output = file.with_name(re.sub(r"\.tar$", "", file.name)).with_suffix(".pdparams")
    if output.exists():
        raise UserError(f"{output} is there already; `output` names another file, or this one")
    return output


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.weights.checkpoint import save_checkpoint
    from ppdet_lite.weights.convert.converter import conversion_of

    output = Path(args.output) if args.output else default_output(Path(args.file))
    cfg = Path(args.cfg) if args.cfg else None
    conversion = conversion_of(Path(args.file), args.source, cfg)
    stem = output.stem if output.suffix == ".pdparams" else output.name
    meta = {"converted_from": Path(args.file).name, "converter": conversion.converter}
    path = save_checkpoint(str(output.parent), stem, conversion.state, meta)
    print("\n".join([f"{args.file}: {conversion.lines()[0]}", *conversion.lines()[1:]]))
    print(f"{path}.pdparams: {len(conversion.state)} tensors")
    if args.config:
        from ppdet_lite.core.workspace import load_config
        from ppdet_lite.evaluate.trained_model import load_trained_model

        load_trained_model(load_config(args.config, [f"weights={path}"]))
