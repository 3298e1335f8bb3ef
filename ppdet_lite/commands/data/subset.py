"""Draws a part of a COCO data set that is like the whole."""

import argparse
import json
from pathlib import Path

from ppdet_lite.cli.tool import tool_parser

EXAMPLES = """  ppdet data subset --annotations dataset/coco/annotations/instances_train2017.json \\
      --images 25000 --output dataset/coco/annotations/instances_minitrain2017.json
  ppdet data subset dataset/my_coco --images 500 --output dataset/my_500.json

The part has the same shares of every class and of small, medium and large objects, as far as whole
images allow; the statistics of both are printed. The same seed gives the same images. Images stay
where they are: use the new file as anno_path.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = tool_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    text = "a data set in COCO's format, whose training images are drawn from"
    add("folder", nargs="?", type=Path, metavar="FOLDER", help=text)
    add("--annotations", type=Path, metavar="JSON", help="instead of FOLDER: COCO annotations")
    add("--images", required=True, type=int, metavar="N", help="images to draw")
    add("--output", required=True, type=Path, metavar="JSON", help="the file to write")
    add("--seed", type=int, default=0, metavar="N", help="of the drawing (default: 0)")
    add("--keep-empty", action="store_true", help="draw from images without objects, too")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.core.errors import ConfigError
    from ppdet_lite.data.subset import read_set, subset
    from ppdet_lite.utils.files import check_writable, replacing

    if args.seed < 0:
        raise ConfigError(f"`seed`: found {args.seed}, allowed: 0 or more")
    if (args.folder is None) == (args.annotations is None):
        raise ConfigError("give either FOLDER or `annotations`")
    if args.output.exists():
        raise ConfigError(f"`output`: {args.output} is there already, allowed: a new file")
    check_writable(args.output)
    file = args.annotations or _training_file(args.folder)
    whole = read_set(file)
    content, drawn_from, chosen = subset(whole, args.images, args.seed, args.keep_empty)
    with replacing(args.output) as stream:
        stream.write(json.dumps(content).encode())
    print("\n".join(_report(whole.class_names, drawn_from, chosen)))
    print(f"{args.output}: {chosen.images} images of {file}, seed {args.seed}")


def _training_file(folder: Path) -> Path:
    """The COCO json of the training images in a folder."""
    from ppdet_lite.core.errors import DataError
    from ppdet_lite.data.folder.recognize import readings_of, recognize

    is_coco = any(reading.format == "coco" for reading in readings_of(folder))
    reading = recognize(folder, "coco" if is_coco else None)
    if reading.format != "coco":
        allowed = "COCO json, which ppdet data convert writes"
        raise DataError(f"{folder}: found {reading.title}, allowed: {allowed}")
    if "train" not in reading.sections:
        found = ", ".join(reading.sections)
        raise DataError(f"{folder}: found {found}, allowed: training images among them")
    return reading.folder / reading.sections["train"]["anno_path"]


def _report(class_names, drawn_from, chosen) -> list[str]:
    from ppdet_lite.benchmark.tables import aligned_table, percent
    from ppdet_lite.data.subset import SIZES

    both = (drawn_from, chosen)
    rows = [
        ["images", *(str(part.images) for part in both)],
        ["objects", *(f"{part.objects.sum():.0f}" for part in both)],
        ["objects per image", *(f"{part.per_image:.2f}" for part in both)],
    ]
    rows += [
        [name, *(percent(part.size_shares[i], digits=2) for part in both)]
        for i, name in enumerate(SIZES)
    ]
    rows += [
        [name, *(percent(part.class_shares[i], digits=2) for part in both)]
        for i, name in enumerate(class_names)
    ]
    return aligned_table(["", "drawn from", "subset"], rows)
