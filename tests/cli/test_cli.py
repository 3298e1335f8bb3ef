"""How the command line tools end."""

import pytest

from ppdet_lite.cli.tool import run_tool


def test_a_missing_package_is_named_with_the_cure(capsys):
    def main():
        raise ModuleNotFoundError("No module named 'paddle.nn'", name="paddle.nn")

    with pytest.raises(SystemExit) as stop:
        run_tool(main)
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: the Python package 'paddle' is missing in ")
    assert "pip install -r requirements.txt" in printed


def test_a_missing_module_of_this_project_is_a_defect_with_its_traceback():
    def main():
        raise ModuleNotFoundError("No module named 'ppdet_lite.x'", name="ppdet_lite.x")

    with pytest.raises(ModuleNotFoundError):
        run_tool(main)
