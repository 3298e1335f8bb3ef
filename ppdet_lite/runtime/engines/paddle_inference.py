"""Runs model.json or model.pdmodel with Paddle Inference: CPU (oneDNN), GPU (TensorRT), XPU."""

import sys
import warnings
from pathlib import Path
from typing import Callable, Optional

import numpy as np

from ppdet_lite.core.errors import UserError
from ppdet_lite.runtime.contract import PARAMS_FILE, ModelFolder
from ppdet_lite.runtime.engines.paddle_inputs import bind_inputs
from ppdet_lite.runtime.options import DEVICES, RUN_MODES
from ppdet_lite.runtime.tensorrt.setup import TensorRTOptions, TensorRTSetup
from ppdet_lite.runtime.tensorrt.versions import check_tensorrt
from ppdet_lite.utils.cpu import cpu_has_any, keep_freed_memory, prefer_fast_blas

PADDLE_ERRORS = (RuntimeError, ValueError, IndexError, TypeError, MemoryError, OSError, SystemError)
"""What Paddle's own kinds of errors become in Python when it cannot load or run a graph."""

GPU_MEMORY_MIB = 200
"""Taken at the start; it grows when needed."""


class PaddleEngine:
    """An exported network in Paddle Inference.

    Args:
        files: the model folder.
        device: "CPU", "GPU" or "XPU".
        cpu_threads: threads of the CPU kernels.
        onednn: oneDNN kernels on the CPU. Where they cannot run the model, one line says so and
            Paddle's own kernels take over.
        bfloat16: let oneDNN compute in bfloat16, on CPUs that have instructions for it.
        run_mode: "paddle", or a TensorRT precision: "trt_fp32", "trt_fp16", "trt_int8".
        tensorrt: its cache and shapes.

    Attributes:
        input_names: of the graph, in its order.
        fixed_batch: the only batch size that the engine takes; None where it takes any.

    Raises:
        UserError: this Paddle lacks the device or TensorRT, or cannot run the files.
    """

    def __init__(
        self,
        files: ModelFolder,
        device: str = "CPU",
        cpu_threads: int = 1,
        onednn: bool = True,
        bfloat16: bool = False,
        run_mode: str = "paddle",
        tensorrt: Optional[TensorRTOptions] = None,
    ):
        self.files = files
        self.device = device
        self.cpu_threads = cpu_threads
        self.onednn = onednn and device == "CPU"
        check_runtime(device, run_mode)
        check_graph(files.graph)
        self.bfloat16 = bfloat16 and self.onednn and _has_bfloat16()
        self.tensorrt = None
        if run_mode != "paddle":
            self.tensorrt = TensorRTSetup(files, run_mode, tensorrt or TensorRTOptions())
        self.run_mode = run_mode
        if device == "CPU":
            keep_freed_memory()
        try:
            self.predictor = self._build()
        except PADDLE_ERRORS as error:
            self._without_onednn(error)
        self.input_names = self.predictor.get_input_names()
        self.fixed_batch = self.tensorrt.fixed_batch if self.tensorrt else None

    @property
    def kernels(self) -> str:
        """What computes, in words."""
        if self.tensorrt:
            return f"TensorRT {self.run_mode[4:].upper()}"
        if self.device != "CPU":
            return f"paddle on {self.device}"
        return ("oneDNN bfloat16" if self.bfloat16 else "oneDNN") if self.onednn else "paddle"

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Arrays by input name -> the graph's outputs in its order."""
        try:
            return self._run(inputs)
        except PADDLE_ERRORS as error:
            return self._without_onednn(error, lambda: self._run(inputs))

    def _run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.bind(inputs)
        self.execute()
        return self.outputs()

    def bind(self, inputs: dict[str, np.ndarray]) -> None:
        """Copies the inputs to the device."""
        bind_inputs(self.predictor, inputs)

    def execute(self) -> None:
        """Runs the network on what was bound last."""
        self.predictor.run()

    def synchronize(self) -> None:
        """Waits for the GPU, which `execute` does not."""
        if self.device == "GPU":
            import paddle

            paddle.device.cuda.synchronize()

    def outputs(self) -> list[np.ndarray]:
        """What the last `execute` computed."""
        names = self.predictor.get_output_names()
        return [self.predictor.get_output_handle(name).copy_to_cpu() for name in names]

    def _build(self):
        """A predictor for the settings of this engine."""
        from paddle.inference import create_predictor

        if self.tensorrt:
            return self.tensorrt.build(self._new_config)
        return create_predictor(self._new_config(self.files.graph, self.files.params))

    def _new_config(self, graph: Path, params: Path):
        """A Config for the device; TensorRT adds its own part."""
        from paddle.inference import Config

        config = Config(str(graph), str(params))
        config.disable_glog_info()
        config.switch_ir_optim(True)
        if self.device == "GPU":
            config.enable_use_gpu(GPU_MEMORY_MIB, 0)
        elif self.device == "XPU":
            config.enable_xpu()
        else:
            config.disable_gpu()
            config.set_cpu_math_library_num_threads(self.cpu_threads)
            self._choose_cpu_kernels(config)
        return config

    def _choose_cpu_kernels(self, config) -> None:
        if self.onednn:
            config.enable_mkldnn()
            if self.bfloat16:
                config.enable_mkldnn_bfloat16()
        elif hasattr(config, "disable_mkldnn"):  # on by default in Paddle 3.3
            config.disable_mkldnn()

    def _without_onednn(self, error: Exception, attempt: Callable = lambda: None):
        """What `attempt` returns with a new predictor that has no oneDNN. An error that comes again
        is not oneDNN's and is passed on; oneDNN then stays."""
        if not self.onednn:
            raise self._unusable(error) from error
        before = self.bfloat16, getattr(self, "predictor", None)
        self.onednn = self.bfloat16 = False
        try:
            self.predictor = self._build()
            result = attempt()
        except PADDLE_ERRORS as second:
            self.onednn = True
            self.bfloat16, self.predictor = before
            raise self._unusable(second) from second
        print(f"oneDNN is off, it cannot run this model here: {_end_of(error)}", file=sys.stderr)
        return result

    def _unusable(self, error: Exception) -> UserError:
        return UserError(
            f"{self.files.path}: Paddle cannot run this model. Either {self.files.graph.name} and "
            f"{PARAMS_FILE} do not belong together, or another version of Paddle wrote them: "
            f"{_end_of(error)}"
        )


def _end_of(error: Exception) -> str:
    """The last part of Paddle's message on one line; what comes before is its call stack."""
    return " ".join(str(error).split())[-250:]


# ------------------------------------------------------------------------------- what is installed
def check_runtime(device: str, run_mode: str) -> None:
    """Refuses a device or run mode that the installed Paddle does not have.

    Raises:
        UserError: says what is missing and what to do.
    """
    if device not in DEVICES:
        raise UserError(f"--device: found {device}, allowed: {', '.join(DEVICES)}")
    if run_mode not in RUN_MODES:
        raise UserError(f"--run_mode: found {run_mode}, allowed: {', '.join(RUN_MODES)}")
    if run_mode != "paddle" and device != "GPU":
        raise UserError(
            f"--run_mode {run_mode} is TensorRT's: install a paddlepaddle-gpu with TensorRT "
            "(deploy/README.md says which) and add --device GPU, or use --run_mode paddle"
        )
    warnings.filterwarnings("ignore", message="No ccache found")  # only compilers need it
    prefer_fast_blas()
    try:
        import paddle
    except ImportError as error:
        if _was_interrupted(error):
            raise KeyboardInterrupt from error
        raise UserError(
            f"Paddle cannot be imported ({error}); install paddlepaddle, or paddlepaddle-gpu for "
            "--device GPU (README.md says from where)"
        ) from error
    if device == "GPU" and not paddle.is_compiled_with_cuda():
        raise UserError(
            "--device GPU: this Paddle was built without CUDA; install paddlepaddle-gpu "
            "(README.md says from where), or use --device CPU"
        )
    if device == "GPU" and paddle.device.cuda.device_count() == 0:
        raise UserError("--device GPU: no GPU is visible; use --device CPU")
    if device == "XPU" and not paddle.is_compiled_with_xpu():
        raise UserError(
            "--device XPU: this Paddle was built without Kunlun support; install paddlepaddle-xpu "
            "from Paddle's own package index, or use --device CPU"
        )
    if run_mode != "paddle":
        check_tensorrt(run_mode)


def _was_interrupted(error: Optional[BaseException]) -> bool:
    """Whether Ctrl-C in the middle of an import is behind its error."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def check_graph(graph: Path) -> None:
    """Refuses a graph of Paddle 3 under Paddle 2, which would end in a crash of the process.

    Raises:
        UserError: names the file and both versions.
    """
    import paddle

    if graph.suffix == ".json" and paddle.__version__.startswith(("1.", "2.")):
        raise UserError(
            f"{graph}: written by Paddle 3, but this is Paddle {paddle.__version__}; install "
            "paddlepaddle>=3, or export the model with the Paddle of this machine"
        )


# ----------------------------------------------------------------------------- speed on processors
def _has_bfloat16() -> bool:
    """Whether bfloat16 is worth asking for; says so in one line where it is not."""
    if cpu_has_any(("avx512_bf16", "amx_bf16")):
        return True
    print(
        "bfloat16 is off: this CPU has no instructions for it (avx512_bf16, amx_bf16)",
        file=sys.stderr,
    )
    return False
