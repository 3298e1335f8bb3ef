#!/usr/bin/env python3
"""Runs an exported model on images, a video, a camera or a stream; see ppdet_lite/cli/deploy.py.

In a program of your own import the `Detector` from detector.py beside this file.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ppdet_lite.cli.deploy import command_line  # noqa: E402


def __getattr__(name: str) -> Any:
    """`from infer import Detector` works as well, without making `--help` slow."""
    if name == "Detector":
        from ppdet_lite.runtime.detector import Detector

        return Detector
    raise AttributeError(name)


if __name__ == "__main__":
    command_line()
