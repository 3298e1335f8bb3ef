"""Formats are found by name, those of a user's own module too, and say what they cannot do."""

import re
import subprocess
import sys

import paddle
import pytest

from ppdet_lite.core.errors import UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.export.check import ExportMismatch
from ppdet_lite.export.formats import onnx_format
from ppdet_lite.export.formats.format import (
    Format,
    exported_files,
    find_formats,
    known_formats,
)
from ppdet_lite.export.formats.legacy_format import LegacyFormat
from ppdet_lite.export.formats.onnx_format import OnnxFormat
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model

BUILT_IN = ["paddle", "paddle-legacy", "onnx"]


def test_the_formats_of_the_package(repo):
    assert set(BUILT_IN) <= set(known_formats())
    assert {"model.pdmodel", "model.onnx", "infer_cfg.yml"} < exported_files()
    tool = str(repo / "tools/export_model.py")
    shown = subprocess.run([sys.executable, tool, "--help"], capture_output=True, text=True).stdout
    assert f"one or more of {', '.join(BUILT_IN)}" in re.sub(r"\s+", " ", shown)


def test_formats_come_in_the_order_asked_for_and_once():
    found = find_formats(ExportOptions(["paddle-legacy", "paddle-legacy"]))
    assert [type(form) for form in found] == [LegacyFormat]


@pytest.mark.parametrize(
    ("wanted", "key"),
    [
        (ExportOptions(["tflite"]), "`formats`: found tflite, allowed: .*paddle-legacy"),
        (ExportOptions(["paddle", "paddle-legacy"]), "paddle-legacy both write model.json"),
        (ExportOptions(["paddle"], portable_dcn=True), "`portable_dcn` .* onnx"),
    ],
)
def test_formats_that_cannot_be(wanted, key):
    with pytest.raises(UserError, match=key):
        find_formats(wanted)


@pytest.mark.parametrize("package", onnx_format.PACKAGES)
def test_missing_packages_are_named(monkeypatch, package):
    for name in onnx_format.PACKAGES:
        pytest.importorskip(name, reason=f"needs the package {name}")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"onnx needs the package {package} .*pip install"):
        find_formats(ExportOptions(["onnx"]))


def test_paddle_2_is_told_to_have_no_onnx_before_packages_are_asked_for(monkeypatch):
    monkeypatch.setattr(onnx_format, "PADDLE_2", True)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match="onnx needs Paddle 3, this is"):
        OnnxFormat().requirements()


def test_a_paddle_that_cannot_write_the_old_format_says_so(trained, tmp_path, monkeypatch):
    def refuse(*arguments, **settings):
        raise TypeError("sigmoid(): argument must be Value,\nbut got Variable")

    monkeypatch.setattr(paddle.jit, "save", refuse)
    with pytest.raises(UserError, match=r"paddle-legacy: Paddle .*be Value, but got Variable\)"):
        LegacyFormat().write(trained, tmp_path, ExportOptions(input_size=64, stage="nms"))


OWN_FORMAT = """
import numpy as np
import paddle
from ppdet_lite.core.errors import UserError
from ppdet_lite.export.formats.format import Format, Trial
from ppdet_lite.export.graph import DetectorUpTo

class Numpy(Format):
    '''All weights in one .npz; the network itself runs them.'''

    name = "numpy"
    files = ("weights.npz",)

    def check(self, options):
        if options.stage != "raw":
            raise UserError("`stage`: numpy knows raw only")

    def write(self, network, folder, options):
        self.network = network
        np.savez(folder / "weights.npz", **{k: v.numpy() for k, v in network.state_dict().items()})

    def trials(self, folder):
        return [Trial("numpy", lambda: Engine(self.network, folder / "weights.npz"))]

class Engine:
    def __init__(self, network, path):
        self.network = network
        with np.load(path) as weights:
            network.set_state_dict(dict(weights))

    def run(self, inputs):
        tensors = {key: paddle.to_tensor(value) for key, value in inputs.items()}
        return [x.numpy() * FACTOR for x in DetectorUpTo(self.network, "raw")(tensors)]

FACTOR = 1
"""


def test_a_format_of_a_users_own_module(small_config, tmp_path):
    """Found by its name, written, run, compared, and replaced by the next export like others."""
    module = tmp_path / "own_format.py"
    module.write_text(OWN_FORMAT)
    cfg = load_config(small_config, [f"custom_modules=[{module}]"])
    assert "numpy" in known_formats() and "weights.npz" in exported_files()
    with pytest.raises(UserError, match="`stage`: numpy knows raw only"):
        export_model(cfg, tmp_path, ExportOptions(["numpy"]))
    raw = ExportOptions(["numpy"], stage="raw")
    folder = export_model(cfg, tmp_path, raw)
    assert sorted(path.name for path in folder.iterdir()) == ["infer_cfg.yml", "weights.npz"]
    with pytest.raises(UserError, match="tflite, allowed: .*numpy"):
        find_formats(ExportOptions(["tflite"]))
    known_formats()["numpy"].write.__globals__["FACTOR"] = 1.5
    with pytest.raises(ExportMismatch, match=r"\(numpy\) differs"):
        export_model(cfg, tmp_path / "wrong", raw)


def test_what_a_format_need_not_say(trained, tmp_path):
    class Nothing(Format):
        pass

    assert Nothing not in known_formats().values()
    options = ExportOptions()
    assert Nothing().copies(trained, options) == 1 and Nothing().trials(tmp_path) == []
    assert Nothing().requirements() is None and Nothing().check(options) is None
