"""Converts weights of other projects into weights of this one."""

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ppdet_lite.cli.tool import tool_parser
from ppdet_lite.core.errors import UserError

if TYPE_CHECKING:
    from ppdet_lite.core.config import Config
    from ppdet_lite.weights.convert.converter import Conversion

EXAMPLES = """  ppdet weights convert yolox_nano.pth    writes yolox_nano.pdparams beside it
  ppdet weights convert yolox_nano.pth --output weights/yolox_nano.pdparams \\
      -c yolox_nano_upstream_coco    also check that they fit
  ppdet weights convert yolov4.weights --cfg yolov4.cfg --output weights/yolov4.pdparams
  ppdet weights convert yolov4.conv.137    a backbone and more, for pretrain_weights

Files of YOLOX's and ASFF's authors (.pth, .pth.tar, .safetensors, .npz), of darknet (.weights), and
.safetensors with the names of this package. Nothing that a file holds is executed. A report says
what was read and left out and, with -c, which tensors of that network the file fills. The classes,
and the configuration of -c, are stored beside the weights, for `Detector("FILE.pdparams")`.
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
    from ppdet_lite.core.workspace import load_config
    from ppdet_lite.evaluate.trained_model import load_trained_model
    from ppdet_lite.weights.checkpoint import save_checkpoint
    from ppdet_lite.weights.convert.converter import conversion_of

    output = Path(args.output) if args.output else default_output(Path(args.file))
    description = Path(args.cfg) if args.cfg else None
    cfg = load_config(args.config) if args.config else None
    conversion = conversion_of(Path(args.file), args.source, description, cfg)
    stem = output.stem if output.suffix == ".pdparams" else output.name
    meta = {"converted_from": Path(args.file).name, "converter": conversion.converter}
    meta.update(_facts(conversion, cfg))
    path = save_checkpoint(str(output.parent), stem, conversion.state, meta)
    print("\n".join([f"{args.file}: {conversion.lines()[0]}", *conversion.lines()[1:]]))
    print(f"{path}.pdparams: {len(conversion.state)} tensors, {_about_classes(meta)}")
    if conversion.is_part:
        print(f"A part of a detector: a training starts from it with -o pretrain_weights={path}")
        if cfg is not None:
            _check_part(cfg, str(path))
    elif cfg is not None:
        load_trained_model(load_config(args.config, [f"weights={path}"]))


def _check_part(cfg: "Config", path: str) -> None:
    """Loads the weights as a training does; an error if one of them has no place."""
    from ppdet_lite.core.errors import CheckpointError
    from ppdet_lite.modeling.build_detector import build_detector
    from ppdet_lite.weights.load import load_weights

    report = load_weights(build_detector(cfg), path, part_of_model=True)
    print("\n".join(report.lines()))
    if report.unexpected or report.mismatched:
        raise CheckpointError(f"{path}: not a part of the network of {cfg.name}, see above")


def _facts(conversion: "Conversion", cfg: Optional["Config"]) -> dict[str, Any]:
    """For the side file: the configuration, and the classes: those that its TestDataset names, or
    COCO's for networks that have them."""
    from ppdet_lite.core.shipped import shipped_configs
    from ppdet_lite.core.workspace import create
    from ppdet_lite.data.sources.coco_categories import COCO_CATEGORIES
    from ppdet_lite.evaluate.classes import classes_of_model

    facts: dict[str, Any] = {}
    is_coco = conversion.has_coco_classes
    if cfg is not None:
        is_shipped = shipped_configs().get(cfg.name) == cfg.path
        facts["config"] = cfg.name if is_shipped else os.path.abspath(str(cfg.path))
        is_coco = is_coco or (is_shipped and cfg.settings.num_classes == len(COCO_CATEGORIES))
        if cfg.settings.TestDataset and create("TestDataset", cfg).class_names:
            names, ids = classes_of_model(cfg)
            facts["class_names"] = names
            return {**facts, "category_ids": ids} if ids else facts
    if is_coco:
        facts["class_names"] = list(COCO_CATEGORIES.values())
        facts["category_ids"] = list(COCO_CATEGORIES)
    return facts


def _about_classes(meta: dict[str, Any]) -> str:
    names = meta.get("class_names")
    return f"{len(names)} classes: {', '.join(names[:3])}, ..." if names else "class names unknown"
