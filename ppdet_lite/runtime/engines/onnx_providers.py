"""Execution providers of ONNX Runtime: their libraries, their options, and what they really run."""

import contextlib
import ctypes
import importlib
import io
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Optional

from ppdet_lite.core.errors import UserError, require
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.engines.built_engines import EngineCache, Shapes, input_shapes
from ppdet_lite.runtime.engines.cuda_driver import CudaDevice
from ppdet_lite.runtime.engines.tf32 import turn_tf32_off
from ppdet_lite.runtime.options import EngineOptions

CPU = "CPUExecutionProvider"
LIBRARY_NAMES = ("libonnxruntime_providers_{}.so", "onnxruntime_providers_{}.dll")
MOST_NAMED = 5
FIRST_WITH_PLUGIN_MEMORY = (1, 26)
"""The first release in which "cuda" names a plugin's memory as well."""


class Provider:
    """ONNX Runtime's own kernels for CPUs, and what the other providers have in common with them.

    Attributes:
        name: ONNX Runtime's.
        title: for people.
        library: the part of its library's name that differs between providers; empty for none.
        install: what to install for it.
        gpu: a GPU in whose stream the network is to run; None leaves the stream to the provider.
    """

    name: ClassVar[str] = CPU
    title: ClassVar[str] = "CPU"
    library: ClassVar[str] = ""
    install: ClassVar[str] = ""
    gpu: Optional[CudaDevice] = None

    def __init__(self, options: EngineOptions):
        self.options = options
        chosen = f"`provider` {options.provider}" if options.provider else "`engine` onnxruntime"
        self.asked = f"{chosen}, `device` {options.device}"

    def load(self, onnxruntime: Any) -> None:
        """Loads what the provider needs.

        Raises:
            UserError: this ONNX Runtime lacks it, or a library is not found.
        """
        if self.name not in onnxruntime.get_available_providers():
            raise self.missing(f"found no {self.name} in onnxruntime {onnxruntime.__version__}")
        if self.library and (reason := _missing_library(onnxruntime, self.library)):
            raise self.missing(reason)

    def settings(self, files: ModelFolder) -> dict[str, str]:
        """Options of the provider for an export."""
        return {}

    def open(self, onnxruntime: Any, files: ModelFolder, options: Any) -> Any:
        """A session that never changes over to other providers by itself."""
        self._leave_int8_as_it_is(onnxruntime, options)
        providers: list[Any] = [(self.name, self.settings(files))]
        providers += [CPU] * (self.name != CPU)
        session = onnxruntime.InferenceSession(
            str(files.graph), options, providers=providers, enable_fallback=0
        )
        session.disable_fallback()  # in releases that do not know the argument
        return session

    def check_running(self, session: Any) -> None:
        """Refuses a session in which another provider took the place of this one: ONNX Runtime
        leaves out providers that fail, and computes on the CPU."""
        found = session.get_providers()
        if self.name not in found:
            raise self.missing(f"{self.name} failed to start, found {', '.join(found)}")

    def _leave_int8_as_it_is(self, onnxruntime: Any, options: Any) -> None:
        """Keeps ONNX Runtime from moving the roundings of an INT8 file, which TensorRT reads where
        they stand."""
        if self.options.precision == "int8" and self.name != CPU:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL

    def missing(self, reason: str) -> UserError:
        """The error that says what to install."""
        return UserError(f"{self.asked}: {reason}; {self.install}, or use `device` CPU")


class Cuda(Provider):
    """ONNX Runtime's kernels for NVIDIA's GPUs."""

    name, title, library = "CUDAExecutionProvider", "CUDA", "cuda"
    install = (
        "pip install 'onnxruntime-gpu[cuda,cudnn]' (in place of onnxruntime), and NVIDIA's driver"
    )

    def load(self, onnxruntime: Any) -> None:
        super().load(onnxruntime)
        self.gpu = CudaDevice()

    def settings(self, files: ModelFolder) -> dict[str, str]:
        stream = {"user_compute_stream": str(self.gpu.stream)} if self.gpu else {}
        return {
            **stream,
            "use_tf32": str(int(self.options.tf32)),
            "enable_cuda_graph": str(int(self.options.cuda_graph)),
        }


class TensorRT(Provider):
    """TensorRT for the parts of the graph that it takes, in the number types of the file.

    Without a precision of its own, the provider builds networks in which the file's types hold.
    """

    name, title, library = "TensorrtExecutionProvider", "TensorRT", "tensorrt"
    install = (
        "pip install 'onnxruntime-gpu[cuda,cudnn]' (in place of onnxruntime) and the tensorrt of "
        "the release that the library names, and NVIDIA's driver"
    )

    def load(self, onnxruntime: Any) -> None:
        with contextlib.suppress(ImportError):
            importlib.import_module("tensorrt")  # loads its libraries, which no path leads to
        super().load(onnxruntime)
        if not self.options.tf32:
            turn_tf32_off()  # it has no option for it

    def settings(self, files: ModelFolder) -> dict[str, str]:
        about = {"onnxruntime": importlib.import_module("onnxruntime").__version__}
        cache, shapes = _cache(files, self.options, about)
        folder, profiles = str(cache.folder), {}
        if files.config.input_hw is None:
            profiles = _profiles(shapes, "trt_profile_{}_shapes")
        return {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": folder,
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": folder,
            "trt_cuda_graph_enable": str(int(self.options.cuda_graph)),
            **profiles,
        }


class TensorRTRTX(Provider):
    """TensorRT for RTX, a plugin in a package of its own."""

    name, title = "NvTensorRTRTXExecutionProvider", "TensorRT for RTX"
    package: ClassVar[str] = "onnxruntime_ep_nv_tensorrt_rtx"
    install = (
        "pip install 'onnxruntime>=1.26' onnxruntime-ep-nv-tensorrt-rtx, and NVIDIA's driver for "
        "an RTX GPU (compute capability 7.5 to 8.9, 12.0 or 12.1)"
    )

    def load(self, onnxruntime: Any) -> None:
        plugin = require(self.package, self.asked)
        version = onnxruntime.__version__
        if tuple(map(int, version.split(".")[:2])) < FIRST_WITH_PLUGIN_MEMORY:
            raise self.missing(f"found onnxruntime {version}, allowed: 1.26 and later")
        if not self.options.tf32:
            turn_tf32_off()  # it has no option for it
        if not self._devices(onnxruntime):
            try:
                onnxruntime.register_execution_provider_library(
                    plugin.get_ep_name(), plugin.get_library_path()
                )
            except Exception as error:  # they have no base class of their own
                reason = " ".join(str(error).split()).rpartition("with error: ")[2]
                raise self.missing(f"{self.name} cannot be loaded, {reason}") from error
        if not self._devices(onnxruntime):
            raise self.missing(f"{self.name} finds no GPU that it knows")

    def settings(self, files: ModelFolder) -> dict[str, str]:
        about = {"plugin": importlib.import_module(self.package).__version__}
        cache, shapes = _cache(files, self.options, about)
        profiles = {}
        if files.config.input_hw is None:
            profiles = _profiles(shapes, "nv_profile_{}_shapes")
        return {
            "nv_runtime_cache_path": str(cache.folder),
            "enable_cuda_graph": str(int(self.options.cuda_graph)),
            **profiles,
        }

    def open(self, onnxruntime: Any, files: ModelFolder, options: Any) -> Any:
        self._leave_int8_as_it_is(onnxruntime, options)
        devices = self._devices(onnxruntime)[:1]
        options.add_provider_for_devices(devices, self.settings(files))
        session = onnxruntime.InferenceSession(str(files.graph), options, enable_fallback=0)
        session.disable_fallback()
        return session

    def _devices(self, onnxruntime: Any) -> list[Any]:
        return [found for found in onnxruntime.get_ep_devices() if found.ep_name == self.name]


GPU_PROVIDERS: dict[str, type[Provider]] = {
    "cuda": Cuda,
    "tensorrt": TensorRT,
    "tensorrt_rtx": TensorRTRTX,
}
"""By `EngineOptions.provider`."""


def find_provider(options: EngineOptions) -> Provider:
    """The provider for the device and the choice of `options`.

    Raises:
        UserError: ONNX Runtime has no provider for the device.
    """
    if options.device == "CPU":
        return Provider(options)
    if options.device == "GPU":
        return GPU_PROVIDERS[options.provider or "cuda"](options)
    where = f"`engine` onnxruntime, `device` {options.device}"
    raise UserError(f"{where}: found {options.device}, allowed: CPU, GPU")


def nodes_on_the_cpu(session: Any) -> str:
    """Number and kinds of the nodes that another provider left to the CPU; empty for none, and for
    releases that do not tell. The session must have recorded them."""
    tell = getattr(session, "get_provider_graph_assignment_info", None)
    if tell is None:
        return ""
    counts: Counter[str] = Counter()
    total = 0
    for part in tell():
        nodes = part.get_nodes()
        total += len(nodes)
        if part.ep_name == CPU:
            counts.update(node.op_type for node in nodes)
    named = [f"{kind} {count}" for kind, count in counts.most_common(MOST_NAMED)]
    named += ["others"] * (len(counts) > MOST_NAMED)
    return f"{sum(counts.values())} of {total} nodes ({', '.join(named)})" if counts else ""


def _cache(
    files: ModelFolder, options: EngineOptions, about: dict[str, Any]
) -> tuple[EngineCache, Shapes]:
    shapes, gpu = input_shapes(files.config, options.tensorrt), CudaDevice()
    about = {
        "gpu": [gpu.name, gpu.capability],
        "driver": gpu.driver_version,
        "tf32": options.tf32,
        "shapes": shapes,
        **about,
    }
    gpu.close()
    title = f"onnxruntime_{options.provider}"
    return EngineCache(files, options.tensorrt, title, about), shapes


def _profiles(shapes: Shapes, option: str) -> dict[str, str]:
    """The three options that tell a provider about sizes, "image:1x3x320x320,..."."""
    found = {}
    for index, bound in enumerate(("min", "opt", "max")):
        sizes = (f"{name}:{'x'.join(map(str, of[index]))}" for name, of in shapes.items())
        found[option.format(bound)] = ",".join(sizes)
    return found


def _missing_library(onnxruntime: Any, library: str) -> str:
    """The loader's complaint about the provider's library or one that it needs; empty if all are
    found. Those in NVIDIA's Python packages are loaded first."""
    if hasattr(onnxruntime, "preload_dlls"):  # since 1.21
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what the error says
            onnxruntime.preload_dlls()
    folder = Path(onnxruntime.__file__).parent / "capi"
    for path in (folder / name.format(library) for name in LIBRARY_NAMES):
        if path.is_file():
            try:
                ctypes.CDLL(str(path))
            except OSError as error:
                # Otherwise all was found: its symbols are in a library that ONNX Runtime loads.
                if "undefined symbol" not in str(error):
                    return f"{path.name} cannot be loaded, {error}"
    return ""
