"""The format onnx: files that ONNX Runtime, OpenVINO and others run."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path

import paddle
from paddle import nn

from ppdet_lite.core.errors import UserError, require
from ppdet_lite.export.formats.format import Format, Trial, open_strictly
from ppdet_lite.export.graph import PADDLE_2
from ppdet_lite.export.onnx import OPSET
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.modeling.layers.deform_conv import SampledConv2D
from ppdet_lite.runtime.contract import ONNX_FILE, PORTABLE_FILE
from ppdet_lite.utils.logger import get_logger

PACKAGES = ("onnx", "paddle2onnx", "onnxruntime")
"""Needed beside Paddle; the extra `onnx` of pyproject.toml."""


class OnnxFormat(Format):
    """model.onnx, and model_portable.onnx without the operator DeformConv."""

    name = "onnx"
    files = (ONNX_FILE, PORTABLE_FILE)
    has_portable_form = True
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
        return 1 + (options.portable_dcn and is_deformable)

    def write(self, network: nn.Layer, folder: Path, options: ExportOptions) -> None:
        from ppdet_lite.export.onnx.write import write_onnx  # needs the packages

        write_onnx(network, folder, options)

    def trials(self, folder: Path) -> list[Trial]:
        import onnx

        from ppdet_lite.export.onnx.deform_conv import has_deform_conv

        def trial(title: str, engine: str, name: str, may_fail: bool) -> Trial:
            return Trial(f"{title}, {name}", partial(open_strictly, folder, engine, name), may_fail)

        names = [name for name in self.files if (folder / name).is_file()]
        last = names[-1]  # the portable one, or all that is needed is in the other
        # Beside a portable file the other may be for a newer ONNX Runtime than this one.
        found = [trial("ONNX Runtime", "onnxruntime", name, name != last) for name in names]
        if find_spec("openvino") is None:
            get_logger().info("OpenVINO is not installed, so it has not tried %s", last)
        elif not has_deform_conv(onnx.load(str(folder / last))):
            found.append(trial("OpenVINO", "openvino", last, True))
        return found
