"""The demo's lines on the terminal."""

import importlib.util
import io
import sys

import pytest


@pytest.fixture
def quickstart(repo):
    spec = importlib.util.spec_from_file_location("quickstart", repo / "tools" / "quickstart.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["quickstart"] = module  # for the annotations of its classes
    spec.loader.exec_module(module)
    yield module
    del sys.modules["quickstart"]


def script(text):
    return (sys.executable, "-c", text)


TALK = """
import sys
for number in range(300):
    print(f"[11/28 16:02:41] INFO: AP 0.{number}  AP50 0.9", file=sys.stderr)
print("the end")
"""


def test_a_stage_is_one_line_and_the_log_has_the_others(quickstart, capsys):
    log = io.StringIO()
    quickstart.run_stage("2/6 train", r"AP \S+  AP50 \S+", script(TALK), log)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("2/6 train  ") and line.endswith(" s  AP 0.299  AP50 0.9")
    assert log.getvalue().count("\n[11/28") == 300 and log.getvalue().endswith("the end\n")


def test_a_stage_that_fails_shows_its_last_lines(quickstart, capsys):
    with pytest.raises(SystemExit) as end:
        quickstart.run_stage("2/6", "never", script(TALK + "sys.exit(7)"), io.StringIO())
    assert end.value.code == 7
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].endswith("AP 0.271  AP50 0.9") and errors[29] == "the end"
    assert errors[30].startswith("error: exit code 7 from ")


def test_a_terminal_sees_the_latest_line(quickstart, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    quickstart.run_stage("2/6 train", "never", script(TALK), io.StringIO())
    states = capsys.readouterr().out.split("\r")
    assert any("AP 0.123" in state for state in states)
    assert all(len(state) <= 59 for state in states[:-1]) and states[-1].count("\n") == 1
