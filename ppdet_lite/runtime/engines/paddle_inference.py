"""Runs model.json or model.pdmodel with Paddle Inference: CPU (oneDNN), GPU (TensorRT), XPU."""

import os
import sys
from typing import Any, Callable, TypeVar

import numpy as np

from ppdet_lite.core.errors import UserError
from ppdet_lite.runtime.contract import PARAMS_FILE, ModelFolder
from ppdet_lite.runtime.engines.engine import Arrays, Engine, EngineError, shortened
from ppdet_lite.runtime.engines.paddle_params import check_params
from ppdet_lite.runtime.engines.paddle_predictor import (
    bind_inputs,
    check_graph,
    check_installed,
    new_config,
)
from ppdet_lite.runtime.engines.tensorrt import TensorRTSetup, ops_outside_float16
from ppdet_lite.runtime.engines.tf32 import OVERRIDE
from ppdet_lite.runtime.options import EngineOptions
from ppdet_lite.utils.cpu import cpu_has_any, keep_freed_memory

Result = TypeVar("Result")

BFLOAT16_SETS = ("avx512_bf16", "amx_bf16")
"""Instructions of CPUs with which bfloat16 is faster than float32."""


class PaddleEngine(Engine):
    """An exported network in Paddle Inference.

    Where oneDNN cannot run it, Paddle's own kernels take over with one line on standard error,
    unless `options.is_strict`.
    """

    # Paddle's own kinds of errors in Python; "External", as of oneDNN, is an OSError.
    failures = (RuntimeError, ValueError, IndexError, TypeError, MemoryError, OSError, SystemError)

    def __init__(self, files: ModelFolder, options: EngineOptions):
        super().__init__()
        self._files, self._options = files, options
        self.graph, self.device = files.graph, options.device
        self._is_half = options.precision == "fp16"
        self.runs_on = self.device.lower() + ":0" * (self.device != "CPU")
        if self.device == "GPU":
            is_off = os.environ.get(OVERRIDE) == "0"
            self.runs_on += ", float16" * self._is_half + f", TF32 {'off' if is_off else 'allowed'}"
        check_installed(self.device, options.run_mode)
        check_graph(files.graph)
        if files.params and files.graph.name not in (files.config.files or {}):
            check_params(files.graph, files.params)
        self._onednn = options.enable_mkldnn and self.device == "CPU"
        self._bfloat16 = options.enable_mkldnn_bfloat16 and _has_bfloat16(options.is_strict)
        self.tensorrt = TensorRTSetup(files, options) if options.run_mode != "paddle" else None
        if self.device == "CPU":
            keep_freed_memory()
        self._predictor: Any = None
        self.input_names = self._or_without_onednn(lambda: self._predictor.get_input_names())
        self.fixed_batch = self.tensorrt.fixed_batch if self.tensorrt else None

    @property
    def kernels(self) -> str:  # type: ignore[override]  # it changes where oneDNN cannot go on
        """Name of the kernels in use."""
        if self.tensorrt:
            return f"TensorRT {self.tensorrt.precision.upper()}"
        if self.device != "CPU":
            return f"paddle on {self.device}" + " in float16" * self._is_half
        return ("oneDNN bfloat16" if self._bfloat16 else "oneDNN") if self._onednn else "paddle"

    def _run_alone(self, inputs: Arrays) -> list[np.ndarray]:
        return self._or_without_onednn(lambda: Engine._run_alone(self, inputs))

    def bind(self, inputs: Arrays) -> None:
        bind_inputs(self._predictor, inputs)

    def execute(self) -> None:
        self._predictor.run()

    def synchronize(self) -> None:
        if self.device == "GPU":
            import paddle

            paddle.device.cuda.synchronize()

    def outputs(self) -> list[np.ndarray]:
        names = self._predictor.get_output_names()
        return [self._predictor.get_output_handle(name).copy_to_cpu() for name in names]

    def problem(self, reason: str) -> str:
        end = shortened(reason, keeps_end=True)  # before it comes Paddle's call stack
        if self._onednn:
            return f"oneDNN cannot run this model: {end}"
        return (
            f"Paddle cannot run this model. Either {self.graph.name} and {PARAMS_FILE} do not "
            f"belong together, or another version of Paddle wrote them: {end}"
        )

    def _or_without_onednn(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, at the second attempt without oneDNN. An error that comes again is
        not oneDNN's: it is raised, and oneDNN stays on."""
        try:
            return self._with_predictor(work)
        except EngineError as error:
            if not self._onednn or self._options.is_strict:
                raise
            before = self._onednn, self._bfloat16, self._predictor
            self._onednn, self._bfloat16, self._predictor = False, False, None
            try:
                result = self._with_predictor(work)
            except EngineError:
                self._onednn, self._bfloat16, self._predictor = before
                raise
            print(f"oneDNN is off: {error.problem}", file=sys.stderr)
            return result

    def _with_predictor(self, work: Callable[[], Result]) -> Result:
        with self.errors():
            if self._predictor is None:
                self._predictor = self._build()
            return work()

    def _build(self) -> Any:
        from paddle.inference import create_predictor

        if self.tensorrt:
            return self.tensorrt.build()
        in_float32 = ops_outside_float16() if self._is_half else None
        config = new_config(self.graph, self._files.params, self.device, in_float32)
        if self.device == "CPU":
            config.set_cpu_math_library_num_threads(self._options.cpu_threads)
            if self._onednn:
                config.enable_mkldnn()
                if self._bfloat16:
                    config.enable_mkldnn_bfloat16()
            elif hasattr(config, "disable_mkldnn"):  # on by default in Paddle 3.3
                config.disable_mkldnn()
        return create_predictor(config)


def _has_bfloat16(is_strict: bool) -> bool:
    """True if this CPU has instructions for bfloat16; otherwise a line or an error is given."""
    if cpu_has_any(BFLOAT16_SETS):
        return True
    reason = f"this CPU has no instructions for it ({', '.join(BFLOAT16_SETS)})"
    if is_strict:
        raise UserError(f"`enable_mkldnn_bfloat16`: {reason}")
    print(f"bfloat16 is off: {reason}", file=sys.stderr)
    return False
