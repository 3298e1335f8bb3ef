#!/usr/bin/env python3
"""Runs an exported model on images, a video, a camera or a stream.

In a program of your own import the `Detector` from detector.py beside this file.
"""

import signal
import sys
from pathlib import Path
from typing import Optional, Sequence

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from ppdet_lite.runtime.options import build_parser  # noqa: E402


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Parses the command line; everything heavy is imported after that."""
    args = build_parser().parse_args(arguments)
    from ppdet_lite.runtime.run import run

    run(args)


def __getattr__(name: str):
    """`from infer import Detector` works as well, without making `--help` slow."""
    if name == "Detector":
        from ppdet_lite.runtime.detector import Detector

        return Detector
    raise AttributeError(name)


def command_line() -> None:
    """`main` with the exit codes of the tools: 2 for an error of the user, 130 after Ctrl-C.

    A request to end (SIGTERM, from service managers) counts as Ctrl-C, so that a video that is
    being written can be played. Paddle, where this process loads it, handles it on its own.
    """
    from ppdet_lite.core.errors import UserError

    for stream in (sys.stdout, sys.stderr):  # no name of a file may end the run by its letters
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    command_line()
