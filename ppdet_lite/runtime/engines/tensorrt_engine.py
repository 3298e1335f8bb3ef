"""Runs an exported .onnx with TensorRT, or with TensorRT for RTX, on a GPU of NVIDIA."""

import json
from typing import Any, ClassVar, Optional

import numpy as np

from ppdet_lite.core.errors import UserError, require
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.engines.built_engines import EngineCache, batch_of_engine, input_shapes
from ppdet_lite.runtime.engines.cuda_driver import CudaDevice, CudaGraph, DeviceArray
from ppdet_lite.runtime.engines.engine import Arrays, Engine
from ppdet_lite.runtime.engines.tensorrt_builder import FIRST_RELEASE, build_plan, make_logger
from ppdet_lite.runtime.engines.tf32 import check_tf32_possible
from ppdet_lite.runtime.options import EngineOptions
from ppdet_lite.utils.files import replacing

PLAN_FILE, OUTPUTS_FILE, KERNELS_FILE = "engine.plan", "outputs.json", "kernels.bin"


class TensorRTEngine(Engine):
    """An .onnx in TensorRT 10 or later, from its inputs to its outputs in one engine, which is
    built once. Its outputs must have fixed sizes: an NMS that keeps as many rows as it finds has
    not.
    """

    failures = (RuntimeError, ValueError, TypeError, MemoryError)
    package: ClassVar[str] = "tensorrt"
    title: ClassVar[str] = "TensorRT"
    first_release: ClassVar[int] = FIRST_RELEASE

    def __init__(self, files: ModelFolder, options: EngineOptions):
        super().__init__()
        self.graph, self.device, self._options = files.graph, options.device, options
        self._tensorrt = tensorrt = require(self.package, f"`engine` {self.package}")
        if int(tensorrt.__version__.partition(".")[0]) < self.first_release:
            raise UserError(
                f"`engine` {self.package}: found {self.package} {tensorrt.__version__}, allowed: "
                f"{self.first_release} and later"
            )
        if options.tf32:
            check_tf32_possible()
        self._gpu = self.gpu = CudaDevice()
        self.kernels = self.title
        details = f"TF32 {'on' if options.tf32 else 'off'}"
        details += ", CUDA graph" if options.cuda_graph else ""
        self.runs_on = f"{self.title} {tensorrt.__version__} on {self._gpu.name}, {details}"
        is_open = files.config.input_hw is None
        self.fixed_batch = None if is_open else batch_of_engine(files.config, options.tensorrt)
        self._arrays: dict[str, DeviceArray] = {}
        self._launch_graph: Optional[CudaGraph] = None
        self._is_first_run = True
        self._logger = make_logger(tensorrt)
        with self.errors(), self._gpu.current():
            plan, self._output_names = self._load_plan(files)
            self._runtime = tensorrt.Runtime(self._logger)
            self._engine = self._checked(self._runtime.deserialize_cuda_engine(plan))
            self._context = self._checked(self._new_context())
            count = self._engine.num_io_tensors
            names = [self._engine.get_tensor_name(index) for index in range(count)]
        self.input_names = [name for name in names if name not in self._output_names]

    def bind(self, inputs: Arrays) -> None:
        shapes = {name: inputs[name].shape for name in self.input_names}
        if any(self._shape_of(name) != shape for name, shape in shapes.items()):
            self._allocate(shapes)
        for name in self.input_names:
            array = self._arrays[name]
            np.copyto(array.host, inputs[name])
            array.send()

    def execute(self) -> None:
        if self._launch_graph is not None:
            self._launch_graph.launch()
            return
        self._enqueue()
        if self._is_first_run:
            self._is_first_run = False
            self._keep_kernels()
        if self._options.cuda_graph:
            self._gpu.synchronize()  # what the first run sets up must not be in the graph
            self._launch_graph = self._gpu.capture(self._enqueue)

    def synchronize(self) -> None:
        self._gpu.synchronize()

    def outputs(self) -> list[np.ndarray]:
        arrays = [self._arrays[name] for name in self._output_names]
        for array in arrays:
            array.fetch()
        self._gpu.synchronize()
        return [array.host.copy() for array in arrays]

    def close(self) -> None:
        self._release()
        self._context = self._engine = self._runtime = None
        self._gpu.close()

    # ---------------------------------------------------------------------------------- the engine
    def _load_plan(self, files: ModelFolder) -> tuple[bytes, list[str]]:
        """The engine of the cache, which is built when it is not there, and its outputs."""
        shapes = input_shapes(files.config, self._options.tensorrt)
        about = {
            "package": [self.package, self._tensorrt.__version__],
            "gpu": [self._gpu.name, self._gpu.capability],
            "driver": self._gpu.driver_version,
            "tf32": self._options.tf32,
            "shapes": shapes,
        }
        cache = EngineCache(files, self._options.tensorrt, self.package, about)
        self._folder = folder = cache.folder
        plan_file, outputs_file = folder / PLAN_FILE, folder / OUTPUTS_FILE
        with cache.building():
            if not plan_file.is_file():
                print(f"{self.title}: building the engine in {folder}, once")
                plan = build_plan(
                    self._tensorrt, files.graph, shapes=shapes, tf32=self._options.tf32
                )
                outputs_file.write_text(json.dumps(plan.outputs))
                with replacing(plan_file) as stream:  # last, as it stands for both
                    stream.write(plan.data)
            return plan_file.read_bytes(), json.loads(outputs_file.read_text())

    def _new_context(self) -> Any:
        """What runs the engine."""
        return self._engine.create_execution_context()

    def _keep_kernels(self) -> None:
        """Writes what the first run for the shapes compiled, where kernels are compiled so late."""

    def _checked(self, made: Any) -> Any:
        """What a function of the library made, or its error for None."""
        if made is None:
            raise RuntimeError("; ".join(self._logger.errors[-3:]) or "it does not say why")
        return made

    def _enqueue(self) -> None:
        with self._gpu.current():
            if not self._context.execute_async_v3(self._gpu.stream):
                self._checked(None)

    # ---------------------------------------------------------------------------------- the memory
    def _shape_of(self, name: str) -> tuple[int, ...]:
        return self._arrays[name].host.shape if name in self._arrays else ()

    def _allocate(self, input_shapes: dict[str, tuple[int, ...]]) -> None:
        """Memory of all inputs and outputs, for the shapes of the inputs."""
        self._release()
        self._is_first_run = True
        try:
            with self._gpu.current():
                self._allocate_all(input_shapes)
        except BaseException:
            self._release()  # else the next run would take a part for the whole
            raise

    def _allocate_all(self, input_shapes: dict[str, tuple[int, ...]]) -> None:
        for name, shape in input_shapes.items():
            if not self._context.set_input_shape(name, tuple(shape)):
                raise RuntimeError(f"input {name} of shape {list(shape)}, not one of the engine's")
        for name in [*self.input_names, *self._output_names]:
            shape = tuple(self._context.get_tensor_shape(name))
            if any(side < 0 for side in shape):
                raise RuntimeError(
                    f"output {name} has as many rows as are found; export an NMS of a fixed size"
                )
            dtype = np.dtype(self._tensorrt.nptype(self._engine.get_tensor_dtype(name)))
            self._arrays[name] = array = DeviceArray(self._gpu, shape, dtype)
            self._context.set_tensor_address(name, array.address)

    def _release(self) -> None:
        if self._launch_graph is not None:
            self._launch_graph.close()
            self._launch_graph = None
        while self._arrays:
            self._arrays.popitem()[1].close()


class TensorRTRTXEngine(TensorRTEngine):
    """An .onnx in TensorRT for RTX, which compiles kernels when a context is made and, for open
    sizes, in the first run. They are kept beside the engine.
    """

    package, title, first_release = "tensorrt_rtx", "TensorRT for RTX", 1

    def _new_context(self) -> Any:
        config = self._engine.create_runtime_config()
        self._kernels, file = config.create_runtime_cache(), self._folder / KERNELS_FILE
        if file.is_file():
            self._kernels.deserialize(file.read_bytes())  # refuses those of another driver
        config.set_runtime_cache(self._kernels)
        if self._options.cuda_graph:  # nothing may be compiled later, within the graph
            eager = self._tensorrt.DynamicShapesKernelSpecializationStrategy.EAGER
            config.dynamic_shapes_kernel_specialization_strategy = eager
        return self._engine.create_execution_context(config)

    def _keep_kernels(self) -> None:
        self._gpu.synchronize()
        with replacing(self._folder / KERNELS_FILE) as stream:
            stream.write(self._kernels.serialize())
