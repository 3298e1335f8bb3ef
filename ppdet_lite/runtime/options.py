"""Options of engines and their values; nothing heavy is imported here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ppdet_lite.core.errors import UserError
from ppdet_lite.utils.cpu import core_count

DEVICES = ("CPU", "GPU", "NPU", "XPU")
ENGINES = ("paddle", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx")
GPU_ENGINES = ("tensorrt", "tensorrt_rtx")
RUN_MODES = ("paddle", "trt_fp32", "trt_fp16", "trt_int8")
PRECISIONS = ("fp32", "fp16", "int8")
"""Numbers inside of an .onnx file or OpenVINO's own; inputs and outputs are float32 in all."""
INT8_ENGINES = ("openvino", "onnxruntime", "tensorrt")
"""Those for which `ppdet quantize` writes INT8 files: two for CPUs, and for GPUs TensorRT, whose
file runs in all of GPU_ENGINES, alone or as providers of ONNX Runtime."""

PROVIDERS = ("cuda", "tensorrt", "tensorrt_rtx")

DEFAULT_THREADS = min(core_count(), 8)
"""More threads seldom help a single image."""
MOST_THREADS = 1024


@dataclass(frozen=True)
class TensorRTOptions:
    """Settings of TensorRT.

    Attributes:
        cache_dir: folder of the built engines; None: `trt_cache` in the model folder.
        calib_dir: images for INT8; needed until a calibration table is in the cache.
        batch_size: the largest with open shapes, else the only one; None: that of the `Detector`.
        min_side, opt_side, max_side: sides in pixels for a model whose input size is open.
    """

    cache_dir: Optional[Path] = None
    calib_dir: Optional[Path] = None
    batch_size: Optional[int] = None
    min_side: int = 320
    opt_side: int = 640
    max_side: int = 1280


@dataclass(frozen=True)
class EngineOptions:
    """The engine of a network, and its settings.

    Attributes:
        engine: "paddle", or for an .onnx "onnxruntime", "openvino", and on GPUs "tensorrt" or
            "tensorrt_rtx" (TensorRT for RTX).
        device: "CPU", "GPU", "NPU" (OpenVINO) or "XPU" (Paddle), in any case.
        run_mode: "paddle", or for TensorRT "trt_fp32", "trt_fp16", "trt_int8".
        provider: of ONNX Runtime on a GPU, one of PROVIDERS; None is "cuda".
        cuda_graph: launch the network as one CUDA graph, for exports in which all sizes are fixed.
        tf32: let GPUs round the factors of float32 products to 10 bits (TensorFloat-32): faster,
            and less exact. Engines with this option have it off by default.
        enable_mkldnn: oneDNN kernels on the CPU.
        enable_mkldnn_bfloat16: oneDNN in bfloat16, on CPUs that have instructions for it.
        precision: one of PRECISIONS; "fp16" runs the float16 file of an export as .onnx, or Paddle
            on a GPU in mixed precision without TensorRT; "int8" runs the file that `ppdet quantize`
            wrote for the engine.
        is_strict: raise where oneDNN or bfloat16 cannot run the model, in place of falling back to
            Paddle's own kernels or float32 with one line.

    Raises:
        UserError: an unknown name, or options that do not go together.
    """

    engine: str = "paddle"
    device: str = "CPU"
    run_mode: str = "paddle"
    provider: Optional[str] = None
    cuda_graph: bool = False
    tf32: bool = False
    cpu_threads: int = DEFAULT_THREADS
    enable_mkldnn: bool = True
    enable_mkldnn_bfloat16: bool = False
    tensorrt: TensorRTOptions = TensorRTOptions()
    precision: str = PRECISIONS[0]
    is_strict: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", self.device.upper())
        choices: list[tuple[str, tuple[str, ...]]] = [
            ("engine", ENGINES),
            ("device", DEVICES),
            ("run_mode", RUN_MODES),
            ("precision", PRECISIONS),
        ]
        choices += [("provider", PROVIDERS)] * (self.provider is not None)
        for name, allowed in choices:
            found = getattr(self, name)
            if found not in allowed:
                raise UserError(f"`{name}`: found {found}, allowed: {', '.join(allowed)}")
        if not 1 <= self.cpu_threads <= MOST_THREADS:
            raise UserError(
                f"`cpu_threads`: found {self.cpu_threads}, allowed: 1 to {MOST_THREADS}"
            )
        self._check_gpu_options()
        missing = ["`engine` paddle"] * (self.engine != "paddle")
        missing += ["`device` CPU"] * (self.device != "CPU")
        missing += ["`enable_mkldnn`"] * (not self.enable_mkldnn)
        if self.enable_mkldnn_bfloat16 and missing:
            raise UserError(f"`enable_mkldnn_bfloat16` needs {', '.join(missing)}")
        is_plain_on_gpu = self.device == "GPU" and self.run_mode == "paddle"
        is_right = self.precision == "fp32" or (self.precision == "fp16" and is_plain_on_gpu)
        if self.engine == "paddle" and not is_right:
            raise UserError(
                f"`precision` {self.precision}: found `engine` paddle, `device` {self.device} and "
                f"`run_mode` {self.run_mode}; allowed with paddle: fp16 with GPU and paddle, and "
                f"with TensorRT `run_mode` trt_{self.precision} alone"
            )
        if self.precision == "int8":
            self._check_int8()
        if self.engine != "paddle" and self.run_mode != "paddle":
            raise UserError(f"`run_mode` {self.run_mode} needs `engine` paddle")

    @property
    def reads(self) -> str:
        """The engine whose graph files are read: TensorRT's by the provider of that name, too."""
        return self.provider if self.provider in GPU_ENGINES else self.engine

    def _check_int8(self) -> None:
        """Refuses what would compute in float32, or has no file."""
        if self.device == "GPU" and self.engine == "onnxruntime" and self.reads == self.engine:
            raise UserError(
                "`precision` int8: found `provider` cuda, allowed: tensorrt, tensorrt_rtx; ONNX "
                "Runtime has no INT8 convolution for CUDA and computes it in float32"
            )
        is_on_cpu = self.engine in ("openvino", "onnxruntime") and self.device == "CPU"
        if not is_on_cpu and self.reads not in GPU_ENGINES:
            raise UserError(
                f"`precision` int8: found `device` {self.device} and `engine` {self.engine}, "
                "allowed: CPU with openvino or onnxruntime, GPU with tensorrt or tensorrt_rtx as "
                "`engine`, or as `provider` of onnxruntime"
            )

    def _check_gpu_options(self) -> None:
        """Refuses options that would be without effect."""
        on_gpu = self.device == "GPU"
        if self.engine in GPU_ENGINES and not on_gpu:
            raise UserError(f"`engine` {self.engine} needs `device` GPU, found {self.device}")
        has_options = on_gpu and self.engine in ("onnxruntime", *GPU_ENGINES)
        for name, is_given, is_right, engines in (
            ("provider", self.provider, on_gpu and self.engine == "onnxruntime", "onnxruntime"),
            ("cuda_graph", self.cuda_graph, has_options, "onnxruntime, tensorrt or tensorrt_rtx"),
            ("tf32", self.tf32, has_options, "onnxruntime, tensorrt or tensorrt_rtx"),
        ):
            if is_given and not is_right:
                raise UserError(f"`{name}` needs `device` GPU and `engine` {engines}")
