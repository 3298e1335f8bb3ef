"""INT8 for engines that read .onnx files, by ONNX Runtime's static quantization."""

from pathlib import Path
from typing import ClassVar, Optional

from ppdet_lite.core.errors import require
from ppdet_lite.export.calibration import Calibration
from ppdet_lite.export.onnx.int8.qdq import CPU_STYLE, TENSORRT_STYLE, Style, write_qdq
from ppdet_lite.quantize.quantizer import AccuracyControl, Quantizer, Written
from ppdet_lite.runtime.contract import INT8_FILES


class OnnxRuntimeQuantizer(Quantizer):
    """Files for ONNX Runtime on CPUs, see `CPU_STYLE`."""

    engine = checked_by = "onnxruntime"
    style: ClassVar[Style] = CPU_STYLE

    def requirements(self) -> None:
        for package in ("onnx", "onnxruntime"):
            require(package, f"INT8 with `engine` {self.engine}", "onnx")

    def write(
        self,
        graph: Path,
        images: Calibration,
        folder: Path,
        control: Optional[AccuracyControl] = None,
    ) -> Written:
        import onnxruntime

        target = folder / INT8_FILES[self.engine][0]
        left, count = write_qdq(graph, images, target, self.style)
        return Written(f"ONNX Runtime {onnxruntime.__version__}", left, count)


class TensorRTQuantizer(OnnxRuntimeQuantizer):
    """Files for TensorRT and TensorRT for RTX, alone or as providers of ONNX Runtime, see
    `TENSORRT_STYLE`. ONNX Runtime on the CPU computes the same roundings, in float32."""

    engine, stage, runs_on_cpus = "tensorrt", "nms_fixed", False
    style = TENSORRT_STYLE
