#!/usr/bin/env python3
"""Sets up an environment of its own and runs the whole road, or the tests; needs only Python 3.9+.

The work is done by the same tools that a real training uses; this file only calls them in order.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
CONFIG = "configs/ppyolo/ppyolov2_r18vd_dcn_demo.yml"
NAME = Path(CONFIG).stem
EXAMPLES = """examples:
  python3 tools/quickstart.py demo    make data, train, evaluate, draw, export, deploy (minutes)
  python3 tools/quickstart.py test    run the tests
  python3 tools/quickstart.py test -m quick    those of the daily loop, under a minute
  python3 tools/quickstart.py check   lint, types and tests, as CI does

After that the tools run in the same environment, for instance
  .venv/bin/python tools/infer.py -c {config} \\
      -o weights=output/{name}/best_model --infer_img photo.jpg
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES.format(config=CONFIG, name=NAME),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=["demo", "test", "check", "coverage"])
    parser.add_argument(
        "--venv", type=Path, default=REPO / ".venv", help="folder of the environment"
    )
    args, pytest_args = parser.parse_known_args()
    if pytest_args and args.command == "demo":
        parser.error(f"demo takes no further arguments, found {' '.join(pytest_args)}")
    os.chdir(REPO)
    started = time.monotonic()
    extras = {"demo": "cpu,polygons,report", "test": "cpu,test"}.get(args.command, "cpu,dev")
    python = prepare_environment(args.venv, extras)
    if args.command == "demo":
        run_demo(python)
    else:
        if args.command == "check":
            run(python, "-m", "ruff", "check", ".")
            run(python, "-m", "ruff", "format", "--check", ".")
            run(python, "-m", "mypy")
        coverage = ("--cov", "--cov-report=term:skip-covered") if args.command == "coverage" else ()
        processes = ("-n", str(min(test_processes(), 8)), "--dist", "loadfile")
        spread = () if "-n" in pytest_args else processes
        run(python, "-m", "pytest", *spread, *coverage, *pytest_args)
    print(f"\ndone in {time.monotonic() - started:.0f} s", flush=True)
    return 0


def test_processes() -> int:
    """One for each core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prepare_environment(folder: Path, extras: str) -> str:
    """Makes the virtual environment once per content of pyproject.toml; returns its Python."""
    if sys.version_info < (3, 9):  # noqa: UP036 - this file also runs before anything is checked
        sys.exit(f"error: found Python {sys.version.split()[0]}, allowed: 3.9 and newer")
    bin_folder = folder / ("Scripts" if os.name == "nt" else "bin")
    python = str((bin_folder / "python").absolute())
    stamp = folder / "ppdet_lite.stamp"
    digest = hashlib.sha256((REPO / "pyproject.toml").read_bytes() + extras.encode()).hexdigest()
    installed = stamp.read_text().split() if stamp.is_file() else []
    if digest in installed:
        return python
    heading(f"installing into {folder}")
    run(sys.executable, "-m", "venv", str(folder))
    quiet = ("--quiet", "--disable-pip-version-check")
    run(python, "-m", "pip", "install", *quiet, "-e", f".[{extras}]")
    stamp.write_text("\n".join([*installed, digest]))
    return python


def run_demo(python: str) -> None:
    data, weights = "dataset/demo", f"output/{NAME}/best_model"
    exported, drawn, deployed = (
        f"output_inference/{NAME}",
        "output/demo_infer",
        "output/demo_deploy",
    )
    heading("1/6 making a labeled data set")
    run(python, "tools/make_demo_data.py", "--output", data)
    heading("2/6 training a small PP-YOLOv2")
    run(python, "tools/train.py", "-c", CONFIG, "--eval")
    use_weights = ("-c", CONFIG, "-o", f"weights={weights}")
    heading("3/6 evaluating the best checkpoint on the held-out images")
    run(python, "tools/eval.py", *use_weights)
    heading("4/6 drawing its detections")
    images = ("--infer_dir", f"{data}/val")
    threshold = "0.3"  # minutes of training do not make a confident network
    draw = ("--output_dir", drawn, "--draw_threshold", threshold)
    run(python, "tools/infer.py", *use_weights, *images, *draw)
    heading("5/6 exporting, and comparing the export with the trained model")
    run(python, "tools/export_model.py", *use_weights, "--verify", f"{data}/val")
    heading("6/6 running the export as a deployment would")
    deploy = ("--model_dir", exported, "--image_dir", f"{data}/val", "--device", "CPU")
    draw = ("--output_dir", deployed, "--threshold", threshold)
    run(python, "deploy/python/infer.py", *deploy, *draw)
    print(
        f"""
where everything is
  data set            {data}
  log, checkpoints    output/{NAME}
  page of the run     output/{NAME}/index.html
  drawn detections    {drawn}
  exported model      {exported}
  deployed results    {deployed}"""
    )


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def run(*command: str) -> None:
    """Runs a command to its end; a failing one ends this program with its exit code."""
    code = subprocess.call(command)
    if code:
        print(f"error: exit code {code} from {' '.join(command)}", file=sys.stderr)
        sys.exit(code if code > 0 else 128 - code)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
