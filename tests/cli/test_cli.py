"""How the command line tools end."""

import argparse
import importlib
import re
import subprocess
import sys

import pytest

from ppdet_lite import __version__
from ppdet_lite.cli.tool import named_as_options, run_tool
from ppdet_lite.commands.main import COMMANDS
from ppdet_lite.commands.main import main as ppdet
from ppdet_lite.core.errors import UserError


@pytest.fixture(autouse=True)
def no_options(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tool"])


def test_a_missing_package_is_named_with_the_cure(capsys):
    def main(args):
        raise ModuleNotFoundError("No module named 'paddle.nn'", name="paddle.nn")

    with pytest.raises(SystemExit) as stop:
        run_tool(main, argparse.ArgumentParser())
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: the Python package 'paddle' is missing in ")
    assert "pip install -r requirements.txt" in printed


def test_a_missing_module_of_this_project_is_a_defect_with_its_traceback():
    def main(args):
        raise ModuleNotFoundError("No module named 'ppdet_lite.x'", name="ppdet_lite.x")

    with pytest.raises(ModuleNotFoundError):
        run_tool(main, argparse.ArgumentParser())


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", "--config")
    parser.add_argument("--input-size", "--input_size", type=int, default=0)
    parser.add_argument("--enable_mkldnn", action="store_true")
    parser.add_argument("--no-mkldnn", dest="enable_mkldnn", action="store_false")
    parser.add_argument("-n", dest="count", choices=["one", "two"])
    return parser


def test_parameters_in_backquotes_become_options(parser):
    text = "`input_size` 5: `config`, `enable_mkldnn`, `count`, `nobody`, `a b`"
    assert named_as_options(text, parser) == (
        "--input-size 5: --config, --enable_mkldnn, -n, `nobody`, `a b`"
    )


@pytest.mark.parametrize(
    "arguments, problem",
    [
        (
            ["--input-size", "x"],
            "error: --input-size/--input_size: found 'x', allowed: a number",
        ),
        (
            ["--enable-mkldnn"],
            "error: unrecognized arguments: --enable-mkldnn; did you mean '--ena",
        ),
        (["-n", "3"], "error: -n: found '3', allowed: "),
        (["a", "--config"], "error: -c/--config: expected one argument"),
    ],
)
def test_wrong_options_are_one_line(parser, capsys, monkeypatch, arguments, problem):
    monkeypatch.setattr(sys, "argv", ["tool", *arguments])
    with pytest.raises(SystemExit) as stop:
        run_tool(lambda args: None, parser)
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(problem) and printed.count("\n") == 1 and "--help" in printed


def test_an_error_of_the_user_names_the_option(parser, capsys):
    def main(args):
        raise UserError(f"`input_size`: found {args.input_size}, allowed: 1 or more")

    with pytest.raises(SystemExit) as stop:
        run_tool(main, parser)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: --input-size: found 0, allowed: 1 or more\n"


def test_the_way_to_the_options_is_light():
    """deploy/python/infer.py has it too, and its --help answers at once."""
    code = "import sys, ppdet_lite.cli.tool; print({'paddle', 'numpy', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize(
    "arguments, code, printed",
    [
        (["--version"], 0, f"ppdet_lite {__version__}\n"),
        ([], 0, "  export "),
        (["trian"], 2, "error: COMMAND: found 'trian', allowed: "),
        (["eval", "--help"], 0, "usage: ppdet eval [-h] -c FILE"),
        (["data", "subset", "--help"], 0, "usage: ppdet data subset [-h] [--annotations"),
        (["data"], 0, "  data subset   draw a part"),
        (["data", "sort"], 2, "error: COMMAND: found 'sort', allowed: "),
        (["model-info"], 2, "-c/--config (ppdet model-info --help"),
    ],
)
def test_the_command_ppdet_answers(monkeypatch, capsys, arguments, code, printed):
    monkeypatch.setattr(sys, "argv", ["ppdet", *arguments])
    with pytest.raises(SystemExit) as stop:
        ppdet()
    assert stop.value.code == code and printed in "".join(capsys.readouterr())


@pytest.mark.parametrize("module", ["ppdet_lite", "ppdet_lite.commands.main"])
def test_the_command_ppdet_runs_as_a_module(module):
    command = [sys.executable, "-m", module, "report", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("usage: ppdet report"), done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_of_commands_need_no_clone(name):
    module = importlib.import_module(f"ppdet_lite.commands.{COMMANDS[name][0]}")
    text = module.build_parser().format_help()
    assert not re.findall(r"(?:python (?!-m)|\btools/(?!dev/)|deploy/python|-c configs/)\S*", text)
