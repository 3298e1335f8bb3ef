"""The engines that the benchmark knows, and which exports they read."""

from typing import NamedTuple, Optional, Sequence

from ppdet_lite.core.errors import ConfigError


class Kind(NamedTuple):
    """What an engine reads, as the options of tools/export_model.py say.

    Attributes:
        format: "paddle" (the format of the installed Paddle), "paddle-legacy" or "onnx".
        target: "any", or "cpu" for an export in the form that is fastest on CPUs.
    """

    format: str = "paddle"
    target: str = "any"

    def __str__(self) -> str:
        return f"{self.format}, --target {self.target}"


class Engine(NamedTuple):
    """How an engine is opened.

    Attributes:
        options: arguments of `open_engine` of deploy/python.
        kind: what it reads.
        device: "CPU" or "GPU".
        kernels: what must compute, in the words of deploy/python, where another may take over.
    """

    options: dict
    kind: Kind = Kind()
    device: str = "CPU"
    kernels: Optional[str] = None

    @property
    def tells_operators(self) -> bool:
        """Whether Paddle's profiler sees where its time goes."""
        return self.device == "CPU" and self.kind.format == "paddle"


ENGINES = {
    "paddle": Engine({"enable_mkldnn": False}),
    "onednn": Engine({"enable_mkldnn": True}, kernels="oneDNN"),
    "onednn_bfloat16": Engine(
        {"enable_mkldnn": True, "enable_mkldnn_bfloat16": True}, kernels="oneDNN bfloat16"
    ),
    "onnxruntime": Engine({"engine": "onnxruntime"}, Kind("onnx")),
    "openvino": Engine({"engine": "openvino"}, Kind("onnx")),
    "gpu": Engine({}, device="GPU"),
    "trt_fp32": Engine({"run_mode": "trt_fp32"}, device="GPU"),
    "trt_fp16": Engine({"run_mode": "trt_fp16"}, device="GPU"),
    "trt_int8": Engine({"run_mode": "trt_int8"}, Kind("paddle-legacy"), "GPU"),
}
"""By the name in the option --engines; those of `WITH_TARGET_CPU` are added below."""

WITH_TARGET_CPU = {name: f"{name}_target_cpu" for name in ("onednn", "onnxruntime", "openvino")}
"""An engine -> the name under which it runs exports with --target cpu."""

ENGINES.update(
    {
        name: ENGINES[plain]._replace(kind=Kind(ENGINES[plain].kind.format, "cpu"))
        for plain, name in WITH_TARGET_CPU.items()
    }
)

DEFAULT_ENGINES = ("onednn", "onednn_target_cpu", "onnxruntime", "openvino", "openvino_target_cpu")
GPU_ENGINES = tuple(name for name, engine in ENGINES.items() if engine.device == "GPU")


def engines_help() -> str:
    """Three lines with every engine, those that run without being asked for with a star: those with
    exports of both targets in columns, and what the others are behind them."""

    def marked(name: str) -> str:
        return f"{name}*" if name in DEFAULT_ENGINES + GPU_ENGINES else name

    pairs = [(marked(plain), marked(other)) for plain, other in WITH_TARGET_CPU.items()]
    widths = [max(map(len, pair)) for pair in pairs]
    rows = [[name.ljust(width) for name, width in zip(row, widths)] for row in zip(*pairs)]
    of_pairs = {*WITH_TARGET_CPU, *WITH_TARGET_CPU.values(), *GPU_ENGINES}
    others = [marked(name) for name in ENGINES if name not in of_pairs]
    gpu = "  ".join(map(marked, GPU_ENGINES)).ljust(len("  ".join(rows[0])))
    lines = [[*rows[0], *others], [*rows[1], "exports with --target cpu"]]
    lines.append([gpu, "where there is a GPU"])
    return "\n".join("  " + "  ".join(line) for line in lines)


def check_engines(names: Sequence[str]) -> None:
    """Raises:
    ConfigError: a name that is none of an engine.
    """
    for name in names:
        if name not in ENGINES:
            raise ConfigError(f"--engines: found {name}, allowed: {', '.join(ENGINES)}")
