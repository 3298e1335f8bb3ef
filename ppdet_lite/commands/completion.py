"""Prints the script that completes commands, options, names and files of ppdet in a shell."""

import argparse
import importlib

from ppdet_lite.cli.completion.shells import SHELLS

EXAMPLES = """examples:
  eval "$(ppdet completion bash)"                                    in ~/.bashrc
  eval "$(ppdet completion zsh)"                                     in ~/.zshrc, after compinit
  ppdet completion fish > ~/.config/fish/completions/ppdet.fish      once
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shell", choices=list(SHELLS), help="the shell")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.cli.completion.words import options_of
    from ppdet_lite.commands import main as ppdet
    from ppdet_lite.core.shipped import shipped_configs
    from ppdet_lite.data.folder.recognize import FORMATS
    from ppdet_lite.weights.zoo import read_zoo

    commands = {}
    for name, (module, text) in ppdet.COMMANDS.items():
        parser = importlib.import_module(f"ppdet_lite.commands.{module}").build_parser()
        commands[name] = (text, options_of(parser))
    lists = {"config": [*shipped_configs()], "weights": [*read_zoo()], "format": [*FORMATS]}
    print(SHELLS[args.shell](commands, lists), end="")
