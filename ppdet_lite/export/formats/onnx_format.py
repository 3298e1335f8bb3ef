"""The format onnx: files that ONNX Runtime, OpenVINO and others run."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Sequence

import paddle
from paddle import nn

from ppdet_lite.core.errors import UserError, require
from ppdet_lite.export.calibration import Calibration
from ppdet_lite.export.compare import FLOAT16, FLOAT32, Tolerances
from ppdet_lite.export.formats.format import Format, Trial, open_strictly
from ppdet_lite.export.graph import PADDLE_2
from ppdet_lite.export.onnx import OPSET
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.modeling.layers.deform_conv import SampledConv2D
from ppdet_lite.runtime.contract import HALF_FILES, INT8_FILES, ONNX_FILE, PORTABLE_FILE
from ppdet_lite.utils.logger import get_logger

PACKAGES = ("onnx", "paddle2onnx", "onnxruntime")
"""Needed beside Paddle; the extra `onnx` of pyproject.toml."""


class OnnxFormat(Format):
    """model.onnx, and model_portable.onnx without the operator DeformConv; both in float16, too."""

    name = "onnx"
    # Those in INT8 are made of an export later; the next one makes them stale.
    files = (ONNX_FILE, PORTABLE_FILE, *HALF_FILES.values(), *sum(INT8_FILES.values(), ()))
    has_portable_form = has_half_form = True
    described = {"onnx_opset": OPSET}

    def requirements(self) -> None:
        if PADDLE_2:
            raise UserError(
                f"`formats` onnx needs Paddle 3, this is {paddle.__version__}; paddle2onnx for "
                "Paddle 2 knows no deformable convolution"
            )
        for package in PACKAGES:
            require(package, "`formats` onnx", "onnx")

    def copies(self, network: nn.Layer, options: ExportOptions) -> int:
        is_deformable = any(isinstance(layer, SampledConv2D) for layer in network.sublayers())
        count = 1 + (options.portable_dcn and is_deformable)
        return 2 * count if options.precision == "fp16" else count

    def write(self, network: nn.Layer, folder: Path, options: ExportOptions) -> None:
        from ppdet_lite.export.onnx.write import write_onnx  # needs the packages

        write_onnx(network, folder, options)

    def write_half(self, folder: Path, calibration: Calibration) -> dict[str, Any]:
        from ppdet_lite.export.onnx.float16.half_files import write_half_files

        return write_half_files(folder, calibration)

    def trials(self, folder: Path) -> list[Trial]:
        found = _trials(folder, (ONNX_FILE, PORTABLE_FILE), FLOAT32)
        return found + _trials(folder, tuple(HALF_FILES.values()), FLOAT16)


def _trials(folder: Path, files: Sequence[str], tolerances: Tolerances) -> list[Trial]:
    """Those of files that hold the same network, the portable one last; engines for CPUs compute in
    float32, so the arithmetic of float16 is simulated."""
    import onnx

    from ppdet_lite.export.onnx.deform_conv import has_deform_conv
    from ppdet_lite.export.onnx.float16.half_simulation import SimulatedHalf

    def trial(title: str, engine: str, name: str, may_fail: bool) -> Trial:
        opened = partial(open_strictly, folder, engine, name)
        return Trial(f"{title}, {name}", opened, may_fail, tolerances)

    names = [name for name in files if (folder / name).is_file()]
    if not names:
        return []
    last = names[-1]  # the portable one, or all that is needed is in the other
    # Beside a portable file the other may be for a newer ONNX Runtime than this one.
    found = [trial("ONNX Runtime", "onnxruntime", name, name != last) for name in names]
    if tolerances == FLOAT16:
        for name in names:
            opened = partial(SimulatedHalf, folder / name)
            title = f"float16 arithmetic, {name}"
            found.append(Trial(title, opened, name != last, tolerances))
    if find_spec("openvino") is None:
        get_logger().info("OpenVINO is not installed, so it has not tried %s", last)
    elif not has_deform_conv(onnx.load(str(folder / last))):
        found.append(trial("OpenVINO", "openvino", last, True))
    return found
