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
    "gpu": Engine({}, device="GPU"),
    "trt_fp32": Engine({"run_mode": "trt_fp32"}, device="GPU"),
    "trt_fp16": Engine({"run_mode": "trt_fp16"}, device="GPU", precision="fp16"),
    "trt_int8": Engine({"run_mode": "trt_int8"}, Kind("paddle-legacy"), "GPU", precision="int8"),
}
"""By the name that the user gives; those of `WITH_TARGET_CPU` are added below."""

WITH_TARGET_CPU = {name: f"{name}_target_cpu" for name in ("onednn", "onnxruntime", "openvino")}
"""An engine -> the name under which it runs exports for target cpu."""

for _plain, _name in WITH_TARGET_CPU.items():
    ENGINES[_name] = ENGINES[_plain]._replace(kind=Kind(ENGINES[_plain].kind.format, "cpu"))

DEFAULT_ENGINES = ("onednn", "onednn_target_cpu", "onnxruntime", "openvino", "openvino_target_cpu")
GPU_ENGINES = tuple(name for name, engine in ENGINES.items() if engine.device == "GPU")
