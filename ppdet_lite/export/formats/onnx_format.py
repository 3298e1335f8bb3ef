"""The format onnx: files that ONNX Runtime, OpenVINO and others run."""

from functools import partial
from pathlib import Path

import paddle
from paddle import nn

from ppdet_lite.core.errors import UserError, require
from ppdet_lite.export.formats.format import Format, Trial, open_strictly
from ppdet_lite.export.graph import PADDLE_2
from ppdet_lite.export.onnx.opset import OPSET
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
        files = [folder / name for name in self.files if (folder / name).is_file()]
        found = []
        for path in files:
            # Beside a portable file the other may be for a newer ONNX Runtime than this one.
            name, has_other = f"ONNX Runtime, {path.name}", path != files[-1]
            open_it = partial(open_strictly, folder, "onnxruntime", path.name)
            found.append(Trial(name, open_it, has_other))
        path = files[-1]  # the portable one, or all that is needed is in the other
        if not _openvino_is_here():
            get_logger().info("OpenVINO is not installed, so it has not tried %s", path.name)
        elif _is_portable(path):
            open_it = partial(open_strictly, folder, "openvino", path.name)
            found.append(Trial(f"OpenVINO, {path.name}", open_it, may_fail=True))
        return found


def _openvino_is_here() -> bool:
    try:
        import openvino  # noqa: F401
    except ImportError:
        return False
    return True


def _is_portable(path: Path) -> bool:
    import onnx

    from ppdet_lite.export.onnx.deform_conv import has_deform_conv

    return not has_deform_conv(onnx.load(str(path)))
