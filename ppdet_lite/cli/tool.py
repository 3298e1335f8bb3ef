"""Shared by the command line tools: the `-c`/`-o` options and exit codes.

`--help` loads no package, and of this project little more than this file.
"""

from __future__ import annotations

import argparse
import functools
import io
import os
import re
import sys
import warnings
from typing import TYPE_CHECKING, Any, Callable, NoReturn, Optional, Union

from ppdet_lite.core.errors import UserError
from ppdet_lite.core.suggest import nearest_hint

if TYPE_CHECKING:
    from ppdet_lite.core.config import Config


def tool_parser(description: Optional[str], examples: str = "") -> argparse.ArgumentParser:
    """A parser whose help keeps the lines of its texts, with examples at its end."""
    return argparse.ArgumentParser(
        description=description,
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def config_parser(
    description: str, examples: str = "", config_required: bool = True
) -> argparse.ArgumentParser:
    """A parser with the options that every tool with a configuration has."""
    parser = tool_parser(description, examples)
    add = parser.add_argument
    text = """YAML configuration: a file, or the name of a shipped one, for instance
ppyolov2_r50vd_dcn_365e_coco (ppdet models lists them)"""
    add("-c", "--config", required=config_required, metavar="FILE", help=text)
    text = """change keys, values in YAML: -o TrainReader.batch_size=4 num_classes=3
'TrainReader.sample_transforms.Mixup.alpha=1.0' LearningRate.schedulers.0.gamma=0.2"""
    add("-o", "--opt", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=text)
    text = "print the resolved configuration with the origin of every value, and stop"
    add("--print-config", action="store_true", help=text)
    return parser


def add_offline(parser: argparse.ArgumentParser) -> None:
    """Adds `--offline`, for tools that load weights."""
    text = "take weights from files and the cache only, never over the network (PPDET_OFFLINE=1)"
    switch: dict[str, Any] = {"action": "append_const", "const": "offline=true"}
    parser.add_argument("--offline", dest="opt", help=text, **switch)


def config_from_args(args: argparse.Namespace) -> Config:
    """Reads and checks the configuration; prints remarks about it, and all of it on request."""
    from ppdet_lite.core.workspace import load_config  # not for --help

    cfg = load_config(args.config, args.opt)
    announce_config(cfg, args.print_config)
    return cfg


def announce_config(cfg: Config, whole: bool = False) -> None:
    """Prints remarks about a configuration; with `whole` prints all of it, and ends the process."""
    if whole:
        from ppdet_lite.core.show import describe_config

        print(describe_config(cfg))
        raise SystemExit(0)
    if os.environ.get("PADDLE_TRAINER_ID", "0") == "0":
        for note in cfg.notes:
            print(f"note: {note}", file=sys.stderr)
        if cfg.unused:
            print(f"note: keys without effect here: {', '.join(cfg.unused)}", file=sys.stderr)


AUTO = "auto"


def score_or_auto(text: str) -> Union[float, str]:
    """argparse type: a number, or the word auto."""
    if text == AUTO:
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {text}, allowed: a number, auto") from None


def run_tool(
    main: Callable[[argparse.Namespace], Optional[int]], parser: argparse.ArgumentParser
) -> None:
    """Runs a tool and ends the process.

    Exit codes: 0 or what `main` returns; 2 (or the error's own) for an error of the user and for a
    missing package, printed without a traceback; 130 after Ctrl-C; 141 when the reader of a pipe
    has gone.

    Args:
        main: the tool; takes the parsed options.
        parser: the command line; its options are named in messages, see `named_as_options`.
    """
    warnings.filterwarnings("ignore", message="No ccache found")  # Paddle's, for C++ builds only
    for stream in (sys.stdout, sys.stderr):  # no name of a file may end the run by its letters
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    parser.error = functools.partial(_refuse_options, parser)  # type: ignore[method-assign]
    try:
        sys.exit(main(parser.parse_args()) or 0)
    except UserError as error:
        _stop(f"error: {named_as_options(str(error), parser)}", error.exit_code)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "ppdet_lite"):
            raise
        cure = "pip install 'ppdet_lite[cpu]', in a clone pip install -r requirements.txt"
        text = f"the Python package '{package}' is missing in {sys.executable}; {cure}"
        _stop(f"error: {text} (README.md: Paddle for a GPU)", 2)
    except KeyboardInterrupt:
        _stop("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _refuse_options(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """One line instead of argparse's, below the usage of all options."""
    for wording, ours in (
        ("^argument ", ""),
        (r"invalid choice: (.+) \(choose from (.+)\)", r"found \1, allowed: \2"),
        ("invalid (?:int|float) value: (.+)", r"found \1, allowed: a number"),
    ):
        message = re.sub(wording, ours, message)
    hint = ""
    unknown = message.partition("unrecognized arguments: ")[2].split()
    if unknown and unknown[0].startswith("-"):
        hint = nearest_hint(unknown[0].partition("=")[0], parser._option_string_actions)
    _stop(f"error: {message}{hint} ({parser.prog} --help lists all options)", 2)


def named_as_options(text: str, parser: argparse.ArgumentParser) -> str:
    """`text` with the options of `parser` for the parameters that it names in backquotes.

    Where the parser stores no option under a name, the name stays as it is.
    """
    options: dict[str, str] = {}
    for action in parser._actions:
        long = [option for option in action.option_strings if option.startswith("--")]
        for option in [*long, *action.option_strings][:1]:
            options.setdefault(action.dest, option)
    return re.sub(r"`(\w+)`", lambda name: options.get(name[1], name[0]), text)


def _stop(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(code)
