"""Runs the command lines of tools/ without a process of their own."""

import importlib
import os
from unittest import mock


def run_tool(name, *arguments):
    """`run_tool("eval", "-c", ...)` does what `python tools/eval.py -c ...` does and raises its
    errors; the environment stays as it was."""
    module = importlib.import_module(f"tools.{name}")
    with mock.patch.dict(os.environ):
        return module.main(module.build_parser().parse_args(list(map(str, arguments))))
