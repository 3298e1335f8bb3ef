"""Finds what is wrong in a data set: files, images, boxes, classes, splits."""

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path

from ppdet_lite.cli.tool import tool_parser

EXAMPLES = """  ppdet data check dataset/my_photos
  ppdet data check -c ppyolov2_r50vd_dcn_voc                       the data sets that it names
  ppdet data check dataset/my_photos --fix dataset/fixed           a repaired copy, COCO format

The folder may hold COCO json, Pascal VOC, YOLO txt, CSV or labelme files. Every image is read and
decoded. The table on the terminal has one line for each kind of problem; all of them are in
OUTPUT_DIR/check.json, and the worst drawn in OUTPUT_DIR/index.html. The exit code is 1 if there is
an error, 0 with warnings and notes only. docs/check_your_data.md explains every kind.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = tool_parser(__doc__, EXAMPLES)
    add_data_options(parser, Path("output/data_check"))
    text = "write a repaired copy into a new folder; the original stays as it is"
    parser.add_argument("--fix", type=Path, metavar="FOLDER", help=text)
    return parser


def add_data_options(parser: argparse.ArgumentParser, output_dir: Path) -> None:
    """Adds the options that name the data and the folder of the results."""
    add = parser.add_argument
    text = "the data set; its layout is recognized"
    add("folder", nargs="?", type=Path, metavar="FOLDER", help=text)
    text = "which of several layouts to read, as an error lists them"
    add("--data_format", metavar="FORMAT", help=text)
    text = "instead of FOLDER: TrainDataset and EvalDataset of this configuration"
    add("-c", "--config", metavar="FILE", help=text)
    text = "with -c: change keys"
    add("-o", "--opt", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=text)
    text = f"page and JSON (default: {output_dir})"
    add("--output_dir", type=Path, default=output_dir, metavar="FOLDER", help=text)
    add("--no-page", dest="page", action="store_false", help="the JSON only")


def sources_of(args: argparse.Namespace):
    """Name, sources and layout of the data set that the options name."""
    from ppdet_lite.core.errors import ConfigError
    from ppdet_lite.data.doctor.sources import sources_of_config, sources_of_folder

    if (args.folder is None) == (args.config is None):
        raise ConfigError("give either FOLDER or `config`")
    if args.folder is not None:
        return str(args.folder), *sources_of_folder(args.folder, args.data_format)
    from ppdet_lite.core.workspace import load_config

    return args.config, sources_of_config(load_config(args.config, args.opt)), ""


def page_command(job: str, args: argparse.Namespace) -> str:
    """The command that makes the page again, with whole paths."""
    words = ["ppdet", "data", job]
    if args.folder is not None:
        words.append(str(args.folder.resolve()))
        words += ["--data_format", args.data_format] if args.data_format else []
    else:
        config = Path(args.config)
        words += ["-c", str(config.resolve()) if config.is_file() else args.config]
        words += ["-o", *args.opt] if args.opt else []
    return shlex.join([*words, "--output_dir", str(args.output_dir.resolve())])


def print_page(write: Callable[[], Path], *packages: str) -> None:
    """Writes the page and prints its path, or in one line which of its packages is missing."""
    from ppdet_lite.core.errors import UserError, require

    try:
        for package in packages:
            require(package, "index.html with charts and images", "report")
    except UserError as error:
        print(f"no page: {error}")
    else:
        print(f"look at it: {write()}")


def main(args: argparse.Namespace) -> int:
    """Does what the options say."""
    from ppdet_lite.data.doctor.check import as_json, check, lines
    from ppdet_lite.data.doctor.repair import check_target, repair
    from ppdet_lite.data.doctor.survey import survey
    from ppdet_lite.utils.files import check_writable, write_json

    path = args.output_dir / "check.json"
    check_writable(path)
    name, sources, layout = sources_of(args)
    found = survey(name, sources, layout, args.folder)
    if args.fix:
        check_target(args.fix, found)
    done = check(found)
    write_json(path, as_json(done))
    print("\n".join(lines(done)))
    if args.fix:
        copy = repair(done, args.fix)
        files = ", ".join(map(str, copy.files.values()))
        print(f"repaired copy: {copy.images} images, {files}")
        for split in copy.empty:
            print(f"{split} is not in it: no image of it is left")
    if args.page:
        from ppdet_lite.report.data_page import write_data_page

        command = page_command("check", args)
        print_page(lambda: write_data_page(done, args.output_dir, path.name, command), "jinja2")
    print(f"all of it: {path}")
    return int(done.has_errors)
