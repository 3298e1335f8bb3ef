"""Ctrl-C and SIGTERM while an export is made: it ends with KeyboardInterrupt and leaves nothing."""

import os
import signal
import subprocess
import sys

import pytest

from ppdet_lite.core.workspace import load_config
from ppdet_lite.export import run as export
from ppdet_lite.export.folder import part_beside
from ppdet_lite.export.run import export_model
from ppdet_lite.utils.interrupt import Interrupts


def send(number):
    os.kill(os.getpid(), number)


def write_little(model, folder, infer_cfg, options):
    (folder / "model.json").write_text("new")


@pytest.fixture
def quick(monkeypatch):
    """quick(save=..., verify=...): replaces the long steps."""

    def replace(save=write_little, verify=lambda *arguments: None):
        monkeypatch.setattr(export, "save_inference_model", save)
        monkeypatch.setattr(export, "verify_export", verify)

    return replace


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_paddle_traces_waits_for_its_end(
    number, small_config, tmp_path, monkeypatch, capfd
):
    make, save, seen = export.exported_network, export.save_inference_model, []

    def make_signalling(model, options):
        network = make(model, options)

        def hook(layer, inputs):
            send(number)
            seen.append("traced")

        network.backbone.register_forward_pre_hook(hook)
        return network

    def save_and_note(model, folder, infer_cfg, options):
        save(model, folder, infer_cfg, options)
        seen.append(sorted(os.listdir(folder)))

    monkeypatch.setattr(export, "exported_network", make_signalling)
    monkeypatch.setattr(export, "save_inference_model", save_and_note)
    monkeypatch.setattr(export, "verify_export", lambda *arguments: seen.append("verified"))
    with pytest.raises(KeyboardInterrupt):
        export_model(load_config(small_config), tmp_path)
    assert seen[0] == "traced" and "verified" not in seen
    assert {"infer_cfg.yml", "model.pdiparams"} < set(seen[-1])
    assert capfd.readouterr().err.count("Stopping after this step (Ctrl-C again: at once)\n") == 1
    assert os.listdir(tmp_path) == []


def test_no_further_format_is_written_after_a_signal(small_config, tmp_path, quick, monkeypatch):
    written = []

    def save(model, folder, infer_cfg, options):
        written.extend(options.formats)
        send(signal.SIGINT)

    quick(save)
    for name in ("check_onnx_export", "import_onnxruntime"):
        monkeypatch.setattr(export, name, lambda: None)
    with pytest.raises(KeyboardInterrupt):
        export_model(load_config(small_config), tmp_path, formats=["paddle", "onnx"])
    assert written == ["paddle"]


def test_a_second_ctrl_c_acts_at_once_whatever_paddle_makes_of_it(small_config, tmp_path, quick):
    def save(model, folder, infer_cfg, options):
        send(signal.SIGINT)
        try:
            send(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise SystemError("returned a result with an exception set") from error
        pytest.fail("the second one was held back, too")

    quick(save)
    with pytest.raises(KeyboardInterrupt):
        export_model(load_config(small_config), tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [None, RuntimeError("caught")])
def test_a_ctrl_c_that_an_engine_drops_or_changes(error, small_config, tmp_path, quick):
    def verify(*arguments):
        try:
            send(signal.SIGINT)
        except KeyboardInterrupt:
            if error is not None:
                raise error from None

    quick(verify=verify)
    with pytest.raises(KeyboardInterrupt):
        export_model(load_config(small_config), tmp_path)
    assert os.listdir(tmp_path) == []


def test_errors_without_a_signal_stay_what_they_are(small_config, tmp_path, quick):
    def save(*arguments):
        raise RuntimeError("a defect")

    quick(save)
    with pytest.raises(RuntimeError, match="a defect"):
        export_model(load_config(small_config), tmp_path)
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
