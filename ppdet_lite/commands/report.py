"""Makes the page of a training run again, or (`--pareto`) a figure of accuracy over speed."""

import argparse
from pathlib import Path

SPEEDS = ("fps", "fps_tensorrt")

EXAMPLES = """  ppdet report output/ppyolov2_r18vd_dcn_bccd   index.html of a run, from its files
  ppdet report --pareto results.csv --output pareto.png
  ppdet report --pareto                                   the published results alone
  ppdet report --pareto results.json --speed fps_tensorrt

results.csv of --pareto has a header and a row for each method and input size (a .json: a list of
objects):
  method,size,ap,fps,fps_tensorrt
  mine,640,44.1,310,
Published are those of table 2 of the PP-YOLOv2 paper: AP on COCO test-dev, FPS of a V100 with batch
1. Results of one's own come from eval and benchmark; compare speeds of one card only.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"examples:\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    text = "the output folder of a training"
    add("run", nargs="?", type=Path, metavar="RUN", help=text)
    text = "draw AP over speed, with the results of these tables"
    add("--pareto", nargs="*", type=Path, metavar="FILE", help=text)
    text = "with --pareto: the file to draw, .png, .svg or .pdf (default: pareto.png)"
    add("--output", type=Path, metavar="PATH", help=text)
    add("--speed", choices=SPEEDS, default=SPEEDS[0], help="column of speeds (default: fps)")
    add("--without-published", action="store_true", help="results of one's own only")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.core.errors import ConfigError

    if (args.run is None) == (args.pareto is None):
        raise ConfigError("give either RUN or `pareto`")
    if args.pareto is not None:
        _pareto(args)
        return
    from ppdet_lite.report.run_page import write_run_page

    print(f"Look at the run: {write_run_page(args.run).resolve()}")


def _pareto(args: argparse.Namespace) -> None:
    from ppdet_lite.core.errors import ConfigError
    from ppdet_lite.report.pareto import draw_pareto, write_figure
    from ppdet_lite.report.results import PUBLISHED, pareto_front, read_results
    from ppdet_lite.utils.files import check_writable

    output = args.output or Path("pareto.png")
    check_writable(output)
    own = [result for path in args.pareto for result in read_results(path)]
    published = [] if args.without_published else read_results(PUBLISHED)
    front = pareto_front([*published, *own], args.speed)
    if not front:
        raise ConfigError(f"`pareto`: no row with {args.speed}; allowed: tables that have some")
    write_figure(draw_pareto(published, own, args.speed), output)
    print(f"{output}: {len(published)} published and {len(own)} own results")
    for result in front:
        name = f"{result.method} {result.size}".strip() + (" (own)" if result in own else "")
        print(f"on the front: {name}: AP {result.ap:g}, {result.speed(args.speed):g} per second")
