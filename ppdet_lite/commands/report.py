"""Makes the page of a training run or of detections; or (`--pareto`) draws accuracy over speed."""

import argparse
import shlex
from pathlib import Path

from ppdet_lite.cli.tool import tool_parser

SPEEDS = ("fps", "fps_tensorrt")

EXAMPLES = """  ppdet report output/ppyolov2_r18vd_dcn_bccd   index.html of a run, from its files
  ppdet report results/bbox.json                          detections, with the truth.json beside
                                                          them, both written by ppdet eval
  ppdet report bbox.json --anno_path val.json --image_dir photos     or with COCO annotations
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
    parser = tool_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    text = "the output folder of a training, or detections in a COCO results file"
    add("source", nargs="?", type=Path, metavar="RUN|RESULTS.json", help=text)
    text = "COCO annotations of RESULTS.json (default: truth.json beside it)"
    add("--anno_path", type=Path, metavar="JSON", help=text)
    text = """the images of RESULTS.json (default: where truth.json says, or the folder of
--anno_path)"""
    add("--image_dir", type=Path, metavar="FOLDER", help=text)
    text = "draw AP over speed, with the results of these tables"
    add("--pareto", nargs="*", type=Path, metavar="FILE", help=text)
    text = """folder of the page of RESULTS.json (default: <RESULTS>_report beside it); with
--pareto the file to draw, .png, .svg or .pdf (default: pareto.png)"""
    add("--output", type=Path, metavar="PATH", help=text)
    add("--speed", choices=SPEEDS, default=SPEEDS[0], help="column of speeds (default: fps)")
    add("--without-published", action="store_true", help="results of one's own only")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.core.errors import ConfigError

    if (args.source is None) == (args.pareto is None):
        raise ConfigError("give either RUN, RESULTS.json or `pareto`")
    is_results = args.source is not None and args.source.suffix.lower() == ".json"
    for name in ("anno_path", "image_dir"):
        if not is_results and (given := getattr(args, name)) is not None:
            raise ConfigError(f"`{name}`: found {given}, allowed: with RESULTS.json only")
    if args.pareto is not None:
        _pareto(args)
    elif is_results:
        _results(args)
    else:
        if args.output is not None:
            text = "allowed: with RESULTS.json or `pareto`; the page of a run lies in its folder"
            raise ConfigError(f"`output`: found {args.output}, {text}")
        from ppdet_lite.report.run_page import write_run_page

        print(f"Look at the run: {write_run_page(args.source).resolve()}")


def _results(args: argparse.Namespace) -> None:
    from ppdet_lite.core.errors import DataError
    from ppdet_lite.data.sources.coco import COCODataSet
    from ppdet_lite.evaluate.truth_file import truth_of
    from ppdet_lite.report.evaluation.evaluation import make_evaluation, read_evaluation
    from ppdet_lite.report.evaluation.results_page import write_results_page
    from ppdet_lite.utils.detection_rows import TRUTH_FILE

    results, folder = args.source, args.image_dir
    if not results.is_file():
        raise DataError(f"{results}: found no such file, allowed: detections as COCO results")
    if folder is not None and not folder.is_dir():
        raise DataError(f"`image_dir`: found {folder}, allowed: a folder")
    given: dict[str, Path] = {} if folder is None else {"--image_dir": folder}
    if args.anno_path is None:
        truth = results.with_name(TRUTH_FILE)
        if not truth.is_file():
            text = "written by ppdet eval beside its detections; give COCO annotations by"
            raise DataError(f"{truth}: found no such file, {text} `anno_path`")
        evaluation = read_evaluation(results, truth, folder)
    else:
        folder = folder or args.anno_path.parent
        dataset = COCODataSet(image_dir=str(folder.resolve()), anno_path=str(args.anno_path))
        evaluation = make_evaluation(results, truth_of(dataset), str(args.anno_path))
        given = {"--anno_path": args.anno_path, "--image_dir": folder}
    output = args.output or results.with_name(f"{results.stem}_report")
    # Whole paths: the page may be read, and the command pasted, anywhere.
    command = ["ppdet", "report", str(results.resolve())]
    for option, path in {**given, "--output": output}.items():
        command += [option, str(path.resolve())]
    page = write_results_page(evaluation, output, results.name, shlex.join(command))
    print(f"Look at the detections: {page.resolve()}")


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
