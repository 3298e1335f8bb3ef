#!/usr/bin/env python3
"""The command `ppdet quantize` as a script of the repository."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ppdet_lite.cli.tool import run_tool  # noqa: E402
from ppdet_lite.commands.quantize import build_parser, main  # noqa: E402

if __name__ == "__main__":
    run_tool(main, build_parser())
