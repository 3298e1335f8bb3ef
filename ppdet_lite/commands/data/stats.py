"""Counts what is in a data set: classes, sizes, shapes and positions of the objects."""

import argparse
from pathlib import Path

from ppdet_lite.cli.tool import tool_parser
from ppdet_lite.commands.data.check import add_data_options, page_command, print_page, sources_of

MOST_CLASSES = 20
"""Rows of classes on the terminal, the most frequent ones; all are on the page and in the JSON."""

EXAMPLES = """  ppdet data stats dataset/my_photos
  ppdet data stats -c ppyolov2_r50vd_dcn_voc          the data sets that it names

Prints a table, and writes OUTPUT_DIR/index.html with charts, the charts as PNG into
OUTPUT_DIR/report and all numbers into OUTPUT_DIR/stats.json. Images are not read where the labels
give their sizes.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = tool_parser(__doc__, EXAMPLES)
    add_data_options(parser, Path("output/data_stats"))
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.data.doctor.statistics import as_json, statistics_of
    from ppdet_lite.utils.files import check_writable, write_json

    path = args.output_dir / "stats.json"
    check_writable(path)
    name, sources, layout = sources_of(args)
    splits = statistics_of(sources)
    write_json(path, as_json(name, splits))
    print("\n".join(_lines(splits)))
    if args.page:
        from ppdet_lite.report.statistics_page import write_statistics_page

        command = page_command("stats", args)
        print_page(
            lambda: write_statistics_page(name, layout, splits, args.output_dir, command),
            "matplotlib",
            "jinja2",
        )
    print(f"all numbers: {path}")


def _lines(splits) -> list[str]:
    import numpy as np

    from ppdet_lite.benchmark.tables import aligned_table, percent
    from ppdet_lite.data.doctor.statistics import spread
    from ppdet_lite.data.subset import SIZES

    names = list(splits[0].class_names)
    same = all(split.class_names == names for split in splits)
    totals = sum(split.class_counts() for split in splits) if same else np.zeros(0, int)
    order = np.argsort(-totals, kind="stable")[:MOST_CLASSES]
    columns = []
    for split in splits:
        sizes, total = split.size_counts().sum(axis=0), len(split.classes)
        per_image = spread(split.per_image)
        columns.append(
            [
                f"{len(split.per_image):,}",
                f"{int((split.per_image == 0).sum()):,}",
                f"{total:,}",
                f"{per_image.get('50%', 0):g} (most {per_image.get('max', 0):g})",
                *(percent(count, total) for count in sizes),
                *(percent(count, total) for count in split.class_counts()[order]),
            ]
        )
    heads = ["images", "without objects", "objects", "in an image, median", *SIZES]
    heads += [names[index] for index in order]
    rows = [[head, *(column[i] for column in columns)] for i, head in enumerate(heads)]
    return aligned_table(["", *(split.name for split in splits)], rows)
