"""Ctrl-C and SIGTERM while an export is made: it ends with KeyboardInterrupt and leaves nothing."""

import os
import signal
import subprocess
import sys

import pytest

from ppdet_lite.core.workspace import load_config
from ppdet_lite.export.folder import part_beside
from ppdet_lite.export.formats.format import Format
from ppdet_lite.export.formats.paddle_format import PaddleFormat
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model
from ppdet_lite.utils.interrupt import Interrupts


def send(number):
    os.kill(os.getpid(), number)


class Signalled(PaddleFormat):
    """A signal arrives while Paddle traces the network."""

    name = "signalled"
    seen: list = []

    def write(self, network, folder, options):
        def hook(layer, inputs):
            send(signal.SIGTERM)
            self.seen.append("traced")

        network.backbone.register_forward_pre_hook(hook)
        super().write(network, folder, options)
        self.seen.append(sorted(os.listdir(folder)))

    def trials(self, folder):
        pytest.fail("nothing is run after a signal")


def test_a_signal_while_paddle_traces_waits_for_its_end(small_config, tmp_path, capfd):
    with pytest.raises(KeyboardInterrupt):
        export_model(load_config(small_config), tmp_path, ExportOptions(["signalled"]))
    assert Signalled.seen[0] == "traced"
    assert {"infer_cfg.yml", "model.pdiparams"} < set(Signalled.seen[-1])
    assert capfd.readouterr().err.count("Stopping after this step (Ctrl-C again: at once)\n") == 1
    assert os.listdir(tmp_path) == []


class First(Format):
    name, files = "first", ("first.txt",)

    def write(self, network, folder, options):
        send(signal.SIGINT)


class Second(Format):
    name, files = "second", ("second.txt",)

    def write(self, network, folder, options):
        pytest.fail("a format after the signal")


def test_no_further_format_is_written_after_a_signal(small_config, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        export_model(load_config(small_config), tmp_path, ExportOptions(["first", "second"]))


def twice(network, folder):
    """The second Ctrl-C acts at once, whatever Paddle makes of it."""
    send(signal.SIGINT)
    try:
        send(signal.SIGINT)
    except KeyboardInterrupt as error:
        raise SystemError("returned a result with an exception set") from error
    pytest.fail("the second one was held back, too")


def dropped(inputs):
    """A Ctrl-C that an engine drops."""
    try:
        send(signal.SIGINT)
    except KeyboardInterrupt:
        return []


def changed(inputs):
    """A Ctrl-C that an engine changes into another error."""
    try:
        send(signal.SIGINT)
    except KeyboardInterrupt:
        raise RuntimeError("caught") from None


@pytest.mark.parametrize("steps", [{"write": twice}, {"run": dropped}, {"run": changed}])
def test_a_ctrl_c_is_one_whatever_is_made_of_it(steps, quick_export, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        quick_export(**steps)
    assert os.listdir(tmp_path) == []


def test_errors_without_a_signal_stay_what_they_are(quick_export, tmp_path):
    def write(network, folder):
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        quick_export(write)
    assert os.listdir(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from ppdet_lite.export.folder import part_beside
from ppdet_lite.utils.interrupt import Interrupts
with Interrupts() as interrupts, part_beside(Path(sys.argv[1]), interrupts.step) as part:
    (part / "model.json").write_text("half")
    (part / "tmp_traced").mkdir()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_left_goes_and_nothing_else(tmp_path, repo, capsys):
    pytest.importorskip("fcntl", reason="needs locks of folders")
    target = tmp_path / "small"
    command = [sys.executable, "-c", KILLED, str(target)]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = os.listdir(tmp_path)
    stay = [".small.mysecret", ".small.earlier_export", ".other.abcdefgh", "small"]
    for name in stay:
        (tmp_path / name).mkdir()
    (tmp_path / ".small.mysecret" / "small").mkdir()  # as after a failed move of the user's files
    with Interrupts() as interrupts, part_beside(target, interrupts.step) as living:
        assert sorted(os.listdir(tmp_path)) == sorted([*stay, living.name])
        with part_beside(target, interrupts.step) as second:
            assert living.is_dir() and second.is_dir()
        assert living.is_dir() and not second.exists()
    assert sorted(os.listdir(tmp_path)) == sorted(stay)
    said = f"removing {tmp_path / left}, which an earlier run left behind"
    assert capsys.readouterr().err.count(said) == 1
