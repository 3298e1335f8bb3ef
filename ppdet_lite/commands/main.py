"""The command `ppdet`: finds the command that its first word names and runs it."""

import argparse
import importlib
import sys

from ppdet_lite import __version__
from ppdet_lite.cli.tool import run_tool

COMMANDS = {
    "train": "train a detector",
    "evolve": "search hyper-parameters by short trainings",
    "eval": "AP of a trained model",
    "infer": "detect on images with a trained model",
    "asff-weights": "draw over images how ASFF fuses its levels",
    "export": "write a trained model for deployment, and check it",
    "deploy": "detect with an exported model: images, videos, cameras",
    "benchmark": "speed of a network in every engine of this machine",
    "stream-eval": "AP of an exported model on a video that does not wait for it",
    "weights": "convert weights of other projects",
    "data": "draw a part of a COCO data set that is like the whole",
    "report": "a figure of results beside the published ones",
    "model-info": "parameters and GFLOPs of a network",
    "gpu-check": "all that runs on a GPU: speed, boxes, throughput, memory, training",
}
"""The commands, in the order of their use, with what they do; `model-info` is in model_info.py."""


def main() -> None:
    """Runs the command that the command line names, and ends the process."""
    sys.argv[1:] = sys.argv[1:] or ["--help"]
    _, name, *options = sys.argv
    if name not in COMMANDS:
        run_tool(lambda _: None, _overview())  # --help, --version, or an error
    command = importlib.import_module(f"ppdet_lite.commands.{name.replace('-', '_')}")
    sys.argv = [f"ppdet {name}", *options]  # the name in the usage
    run_tool(command.main, command.build_parser())


def _overview() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:{width}}  {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="ppdet",
        description="PP-YOLOv2 and its family on PaddlePaddle.",
        epilog=f"commands:\n{lines}\n\nppdet COMMAND --help explains each, with examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ppdet_lite {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="see below")
    return parser
