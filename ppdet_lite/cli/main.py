"""The command `ppdet`."""

import argparse

from ppdet_lite import __version__
from ppdet_lite.cli.tool import run_tool


def main() -> None:
    """Answers `--version` and `--help`; the work is done by the scripts in tools/ for now."""
    parser = argparse.ArgumentParser(
        prog="ppdet",
        description="PP-YOLOv2 and its family on PaddlePaddle.",
        epilog="Training, evaluation, inference and export are the scripts in tools/ of the "
        "repository, deployment is deploy/python/infer.py; each explains itself with --help.",
    )
    parser.add_argument("--version", action="version", version=f"ppdet_lite {__version__}")
    run_tool(lambda _: parser.print_help(), parser)
