"""The engines that the benchmark knows, and which exports they read."""

from typing import Any, NamedTuple, Optional


class Kind(NamedTuple):
    """The exports that an engine reads."""

    format: str = "paddle"
    target: str = "any"

    def __str__(self) -> str:
        return f"format {self.format}, target {self.target}"


class Engine(NamedTuple):
    """An engine, and the options that open it.

    Attributes:
        options: of `runtime.options.EngineOptions`.
        kernels: what must compute, where another could take over.
        precision: of the arithmetic: fp32, tf32, fp16, bf16 or int8.
    """

    options: dict[str, Any]
    kind: Kind = Kind()
    device: str = "CPU"
    kernels: Optional[str] = None
    precision: str = "fp32"

    @property
    def asked_precision(self) -> str:
        """The precision of the file that it runs, "fp32", "fp16" or "int8"."""
        return str(self.options.get("precision", "fp32"))

    @property
    def has_half_weights(self) -> bool:
        """True if it runs the float16 file of an export."""
        return self.kind.format == "onnx" and self.asked_precision == "fp16"

    @property
    def has_tensorrt_int8(self) -> bool:
        """True if it runs TensorRT's INT8 file, which no export holds by itself."""
        return self.device == "GPU" and self.asked_precision == "int8"

    @property
    def needs_fixed_nms(self) -> bool:
        """True if it runs NMS in the form whose sizes are all fixed."""
        return self.device == "GPU" and self.kind.format == "onnx"

    @property
    def tells_operators(self) -> bool:
        """True if Paddle's profiler sees where its time goes."""
        return self.device == "CPU" and self.kind.format == "paddle"


ENGINES = {
    "paddle": Engine({"enable_mkldnn": False}),
    "onednn": Engine({"enable_mkldnn": True}, kernels="oneDNN"),
    "onednn_bfloat16": Engine(
        {"enable_mkldnn": True, "enable_mkldnn_bfloat16": True},
        kernels="oneDNN bfloat16",
        precision="bf16",
    ),
    "onnxruntime": Engine({"engine": "onnxruntime"}, Kind("onnx")),
    "openvino": Engine({"engine": "openvino"}, Kind("onnx")),
    "onnxruntime_int8": Engine(
        {"engine": "onnxruntime", "precision": "int8"}, Kind("onnx"), precision="int8"
    ),
    "openvino_int8": Engine(
        {"engine": "openvino", "precision": "int8"}, Kind("onnx"), precision="int8"
    ),
    "gpu": Engine({}, device="GPU"),
    "gpu_fp16": Engine({"precision": "fp16"}, device="GPU", precision="fp16"),
    "trt_fp32": Engine({"run_mode": "trt_fp32"}, device="GPU"),
    "trt_fp16": Engine({"run_mode": "trt_fp16"}, device="GPU", precision="fp16"),
    "trt_int8": Engine({"run_mode": "trt_int8"}, Kind("paddle-legacy"), "GPU", precision="int8"),
}
"""By the name that the user gives; those of `WITH_TARGET_CPU` are added below."""

WITH_TARGET_CPU = {name: f"{name}_target_cpu" for name in ("onednn", "onnxruntime", "openvino")}
"""An engine -> the name under which it runs exports for target cpu."""

for _plain, _name in WITH_TARGET_CPU.items():
    ENGINES[_name] = ENGINES[_plain]._replace(kind=Kind(ENGINES[_plain].kind.format, "cpu"))

ONNX_ON_GPUS: dict[str, dict[str, Any]] = {
    "cuda": {"engine": "onnxruntime"},
    "tensorrt": {"engine": "tensorrt"},
    "tensorrt_rtx": {"engine": "tensorrt_rtx"},
    "ort_tensorrt": {"engine": "onnxruntime", "provider": "tensorrt"},
    "ort_tensorrt_rtx": {"engine": "onnxruntime", "provider": "tensorrt_rtx"},
}
"""Ways to run an .onnx on a GPU, each in the arithmetics below, with and without a CUDA graph."""

ARITHMETICS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "tf32": {"tf32": True},
    "fp16": {"precision": "fp16"},
    "int8": {"precision": "int8"},
}
GRAPH = "_graph"
"""Ends the names of engines that launch the network as one CUDA graph."""

for _way, _options in ONNX_ON_GPUS.items():
    for _precision, _more in ARITHMETICS.items():
        if (_way, _precision) == ("cuda", "int8"):  # it has no INT8 convolution
            continue
        _plain = f"{_way}_{_precision}"
        _engine = Engine({**_options, **_more}, Kind("onnx"), "GPU", precision=_precision)
        ENGINES[_plain] = _engine
        _as_graph = {**_engine.options, "cuda_graph": True}
        ENGINES[_plain + GRAPH] = _engine._replace(options=_as_graph)

DEFAULT_ENGINES = ("onednn", "onednn_target_cpu", "onnxruntime", "openvino", "openvino_target_cpu")
PADDLE_GPU_ENGINES = ("gpu", "gpu_fp16", "trt_fp32", "trt_fp16", "trt_int8")
ONNX_GPU_ENGINES = tuple(
    name
    for way in ("cuda", "tensorrt")
    for arithmetic in ARITHMETICS
    if (name := f"{way}_{arithmetic}") in ENGINES
)
