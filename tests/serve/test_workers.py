"""Processes that end by themselves."""

import os
import signal
import sys
import threading
import time

import pytest

from ppdet_lite.core.errors import UserError
from ppdet_lite.serve.workers import MOST_ENDED, Workers


def fail():
    raise UserError("`model_dir` model: gone")


def first_stays(file):
    """The first process works and does not hear SIGTERM, every other one ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        file.touch(exist_ok=False)
    except FileExistsError:
        sys.exit(3)
    while True:
        time.sleep(60)


def test_processes_that_all_end_end_the_server(capfd):
    with pytest.raises(UserError, match=f"exit code 2, as {MOST_ENDED} others did"):
        Workers(3, fail, (), 5).run()
    said = capfd.readouterr().err.splitlines()
    assert said.count("error: model_dir model: gone") > MOST_ENDED
    assert all(line.startswith(("error: ", "warning: a process ended with")) for line in said)


def test_one_that_works_goes_on_while_others_end(tmp_path, capfd):
    """Until a second Ctrl-C ends it at once."""
    said = []

    def stop():
        deadline = time.monotonic() + 60
        while "1 are left" not in "".join(said) and time.monotonic() < deadline:
            time.sleep(0.02)
            said.append(capfd.readouterr().err)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        Workers(2, first_stays, (tmp_path / "first",), 60).run()
    thread.join(20)
    assert not thread.is_alive()
    text = "".join(said)
    assert text.count("exit code 3; another one takes its place") == MOST_ENDED
    assert text.count("; 1 are left, and another one is tried in ") == 1
