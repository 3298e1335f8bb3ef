#!/usr/bin/env python3
"""Sets up an environment of its own and runs the whole road, or the tests; needs only Python 3.9+.

The work is done by the same tools that a real training uses; this file only calls them in order.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple, NoReturn, Sequence, TextIO

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
      -o weights=output/{name}/best_model --image photo.jpg
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
            if shutil.which("clang-format"):
                code = [*Path("deploy/cpp").rglob("*.[ch]"), *Path("deploy/cpp").rglob("*.[ch]pp")]
                run("clang-format", "--dry-run", "-Werror", *map(str, code))
        coverage = ("--cov", "--cov-report=term:skip-covered") if args.command == "coverage" else ()
        processes = ("-n", str(min(test_processes(), 8)), "--dist", "loadfile")
        processes += ("--no-loadscope-reorder",)  # tests/conftest.py has an order
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


class Stage(NamedTuple):
    """A command of the demo.

    Attributes:
        title: its line on the terminal.
        result: pattern in its output, whose last match stands in that line at the end.
    """

    title: str
    result: str
    command: tuple[str, ...]


def run_demo(python: str) -> None:
    data, weights = "dataset/demo", f"output/{NAME}/best_model"
    exported, drawn, deployed = (
        f"output_inference/{NAME}",
        "output/demo_infer",
        "output/demo_deploy",
    )
    use_weights = ("-c", CONFIG, "-o", f"weights={weights}")
    images, threshold = f"{data}/val", "0.3"  # minutes of training make no confident network
    infer = ("tools/infer.py", *use_weights, "--image_dir", images, "--output_dir", drawn)
    export = ("tools/export_model.py", *use_weights, "--verify", images)
    deploy = ("deploy/python/infer.py", "--model_dir", exported, "--image_dir", images)
    deploy += ("--device", "CPU", "--output_dir", deployed, "--threshold", threshold)
    make, train = ("tools/make_demo_data.py", "--output", data), ("tools/train.py", "-c", CONFIG)
    score, matched = r"AP \S+  AP50 \S+", r"\d+ of \d+ boxes matched, largest.*"
    stages = [
        Stage("make a labeled data set", r"demo set: .*", make),
        Stage("train a small PP-YOLOv2", score, (*train, "--eval")),
        Stage("evaluate it on other images", score, ("tools/eval.py", *use_weights)),
        Stage("draw its detections", r"written to .*/", (*infer, "--threshold", threshold)),
        Stage("export it, and compare", matched, export),
        Stage("run the export in deployment", r"written to .*/", deploy),
    ]
    log = Path("output/demo.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream:
        for number, stage in enumerate(stages):
            title = f"{number + 1}/{len(stages)} {stage.title}"
            run_stage(title, stage.result, (python, *stage.command), stream)
    print(
        f"""
where everything is
  data set            {data}
  log, checkpoints    output/{NAME}
  page of the run     output/{NAME}/index.html
  drawn detections    {drawn}
  exported model      {exported}
  deployed results    {deployed}
  all that was said   {log}"""
    )


def run_stage(title: str, result: str, command: Sequence[str], log: TextIO) -> None:
    """Runs a command; one line on the terminal shows how far it is, `log` gets all it says.

    A failing command ends this program with its exit code, after its last lines.
    """
    started, last_lines, found = time.monotonic(), deque(maxlen=30), ""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    log.write(f"\n== {title}: {' '.join(command)}\n")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "env": environment}
    with subprocess.Popen(command, text=True, encoding="utf-8", errors="replace", **pipes) as child:
        show(title)
        for line in child.stdout:
            log.write(line)
            last_lines.append(line)
            text = re.sub(r"^\[[^]]*\] (INFO: )?", "", line).strip()
            found = match[0] if (match := re.search(result, text)) else found
            show(f"{title:<34} {time.monotonic() - started:4.0f} s  {text}")
    log.flush()
    show("")
    print(f"{title:<34} {time.monotonic() - started:4.0f} s  {found}", flush=True)
    if child.returncode:
        print(*last_lines, sep="", end="", file=sys.stderr)
        stop(child.returncode, command)


def show(text: str) -> None:
    """Replaces the line on a terminal; elsewhere nothing is shown."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{text[:width]:<{width}}\r", end="", flush=True)


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def run(*command: str) -> None:
    """Runs a command to its end; a failing one ends this program with its exit code."""
    if code := subprocess.call(command):
        stop(code, command)


def stop(code: int, command: Sequence[str]) -> NoReturn:
    print(f"error: exit code {code} from {' '.join(command)}", file=sys.stderr)
    sys.exit(code if code > 0 else 128 - code)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
