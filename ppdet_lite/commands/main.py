"""The command `ppdet`: finds the command that its first words name and runs it."""

import argparse
import importlib
import sys

from ppdet_lite import __version__
from ppdet_lite.cli.tool import run_tool

COMMANDS = {
    "models": ("models", "list the shipped configurations: size, cost, reported AP, weights"),
    "config": ("config", "write a commented configuration to start from"),
    "train": ("train", "train a detector"),
    "evolve": ("evolve", "search hyper-parameters by short trainings"),
    "eval": ("eval", "AP of a trained model"),
    "infer": ("infer", "detect on images with a trained model"),
    "asff-weights": ("asff_weights", "draw over images how ASFF fuses its levels"),
    "export": ("export", "write a trained model for deployment, and check it"),
    "quantize": ("quantize", "an exported model in INT8, for CPUs"),
    "deploy": ("deploy", "detect with an exported model: images, videos, cameras"),
    "serve": ("serve", "serve an exported model over HTTP, with a page to drop images on"),
    "benchmark": ("speed.benchmark", "speed of a network in every engine of this machine"),
    "stream-eval": ("speed.stream_eval", "AP of an exported model on a video that does not wait"),
    "gpu-check": ("speed.gpu_check", "all that runs on a GPU: speed, boxes, memory, training"),
    "model-info": ("speed.model_info", "parameters and GFLOPs of a network"),
    "weights list": ("weights.list", "published weights, and which of them are here"),
    "weights fetch": ("weights.fetch", "download published weights into the cache"),
    "weights convert": ("weights.convert", "convert weights of other projects"),
    "data check": ("data.check", "find what is wrong in a data set, repair a copy of it"),
    "data stats": (
        "data.stats",
        "count the objects of a data set: classes, sizes, shapes, positions",
    ),
    "data convert": ("data.convert", "write a data set as COCO json, Pascal VOC or YOLO txt"),
    "data split": ("data.split", "divide a data set into train, val and test"),
    "data merge": ("data.merge", "join data sets, classes by name"),
    "data anchors": ("data.anchors", "make anchors for a data set, and the YAML for them"),
    "data subset": ("data.subset", "draw a part of a COCO data set that is like the whole"),
    "completion": ("completion", "complete commands and options in bash, zsh and fish"),
    "report": ("report", "the page of a training run; a figure of AP over speed"),
}
"""The commands, in the order of their use, with their file in this folder and what they do."""


def main() -> None:
    """Runs the command that the command line names, and ends the process."""
    sys.argv[1:] = sys.argv[1:] or ["--help"]
    for words in (2, 1):
        name = " ".join(sys.argv[1 : 1 + words])
        if name in COMMANDS:
            command = importlib.import_module(f"ppdet_lite.commands.{COMMANDS[name][0]}")
            sys.argv = [f"ppdet {name}", *sys.argv[1 + words :]]  # the name in the usage
            run_tool(command.main, command.build_parser())
    run_tool(lambda _: None, _overview(sys.argv[1]))  # --help, --version, or an error


def _overview(word: str) -> argparse.ArgumentParser:
    """Lists all commands, or those that begin with `word`, as in `ppdet data --help`."""
    group = {name: entry for name, entry in COMMANDS.items() if name.startswith(f"{word} ")}
    if group:
        sys.argv = [f"ppdet {word}", *(sys.argv[2:] or ["--help"])]
    listed = group or COMMANDS
    width = max(map(len, listed))
    lines = "\n".join(f"  {name:{width}}  {text}" for name, (_, text) in listed.items())
    parser = argparse.ArgumentParser(
        prog=f"ppdet {word}" if group else "ppdet",
        description="PP-YOLOv2 and its family on PaddlePaddle.",
        epilog=f"commands:\n{lines}\n\nppdet COMMAND --help explains each, with examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ppdet_lite {__version__}")
    choices = [name.rpartition(" ")[2] if group else name for name in listed]
    first = dict.fromkeys(choice.partition(" ")[0] for choice in choices)
    parser.add_argument("command", choices=first, metavar="COMMAND", help="see below")
    return parser


if __name__ == "__main__":
    main()
