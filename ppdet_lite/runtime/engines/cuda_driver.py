"""NVIDIA's driver by way of ctypes: a GPU's memory, its copies, a stream, graphs, times.

The driver's library is on every machine with a GPU, and its functions keep their form over CUDA's
releases, so that no package is needed.
"""

import contextlib
import ctypes
import sys
from typing import Any, Callable, Iterator, Optional

import numpy as np

from ppdet_lite.core.errors import UserError

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

COMPUTE_CAPABILITY = (75, 76)
"""Numbers of CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""
CAPTURE_THREAD_LOCAL = 1
STREAM_NON_BLOCKING = 1


class CudaError(RuntimeError):
    """A function of the driver fails."""


class CudaDevice:
    """The first GPU and a stream on it. It works in every thread.

    Args:
        library: the driver's library; None loads it.

    Attributes:
        name: "NVIDIA H100 80GB HBM3".
        capability: "9.0".
        driver_version: the CUDA version that the driver knows, 13000 for 13.0.
        stream: handle of the stream.

    Raises:
        UserError: there is no driver or no GPU.
    """

    def __init__(self, library: Optional[Any] = None):
        try:
            self._library = ctypes.CDLL(LIBRARY) if library is None else library
        except OSError as error:
            raise UserError(f"`device` GPU: {error}; install NVIDIA's driver") from error
        try:
            self._call("cuInit", ctypes.c_uint(0))
            device = ctypes.c_int()
            self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        except CudaError as error:
            raise UserError(f"`device` GPU: no GPU is visible ({error})") from error
        self._device = device.value
        context, stream = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._context: Optional[ctypes.c_void_p] = context
        with self.current():
            self._call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(STREAM_NON_BLOCKING))
        self.stream: int = stream.value or 0
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, ctypes.c_int(len(text)), device)
        self.name = text.value.decode(errors="replace")
        self.capability = ".".join(str(self._attribute(kind)) for kind in COMPUTE_CAPABILITY)
        version = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(version))
        self.driver_version = version.value

    def synchronize(self) -> None:
        """Waits for all work in the stream."""
        with self.current():
            self._call("cuStreamSynchronize", ctypes.c_void_p(self.stream))

    def capture(self, work: Callable[[], None]) -> "CudaGraph":
        """What `work` launches in the stream, as a graph; nothing of it runs."""
        graph, launchable = ctypes.c_void_p(), ctypes.c_void_p()
        stream = ctypes.c_void_p(self.stream)
        with self.current():
            self._call("cuStreamBeginCapture_v2", stream, ctypes.c_int(CAPTURE_THREAD_LOCAL))
            try:
                work()
            finally:
                self._call("cuStreamEndCapture", stream, ctypes.byref(graph))
            self._call(
                "cuGraphInstantiateWithFlags",
                ctypes.byref(launchable),
                graph,
                ctypes.c_ulonglong(0),
            )
            self._call("cuGraphDestroy", graph)
        return CudaGraph(self, launchable)

    def close(self) -> None:
        """Gives the stream and the context back; graphs and arrays are closed before."""
        if self._context is not None:
            with self.current():
                self._call("cuStreamDestroy_v2", ctypes.c_void_p(self.stream))
            self._call("cuDevicePrimaryCtxRelease_v2", ctypes.c_int(self._device))
            self._context = None

    def _attribute(self, kind: int) -> int:
        value = ctypes.c_int()
        device = ctypes.c_int(self._device)
        self._call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(kind), device)
        return value.value

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Context in which this thread works on the GPU."""
        self._call("cuCtxPushCurrent_v2", self._context)
        try:
            yield
        finally:
            self._call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def _call(self, function: str, *arguments: Any) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(ctypes.c_int(code), ctypes.byref(text))
            reason = text.value.decode() if text.value else "an error without a name"
            raise CudaError(f"{function}: {reason} ({code})")


class CudaGraph:
    """Work that is launched at once; see `CudaDevice.capture`."""

    def __init__(self, device: CudaDevice, handle: ctypes.c_void_p):
        self._device, self._handle = device, handle

    def launch(self) -> None:
        """Starts the work in the device's stream."""
        device = self._device
        with device.current():
            device._call("cuGraphLaunch", self._handle, ctypes.c_void_p(device.stream))

    def close(self) -> None:
        with self._device.current():
            self._device._call("cuGraphExecDestroy", self._handle)


class CudaTimer:
    """The time between two moments in a device's stream, by the device's own clock."""

    def __init__(self, device: CudaDevice):
        self._device = device
        self._events = [ctypes.c_void_p(), ctypes.c_void_p()]
        with device.current():
            for event in self._events:
                device._call("cuEventCreate", ctypes.byref(event), ctypes.c_uint(0))

    def start(self) -> None:
        """Marks the start in the stream."""
        self._record(self._events[0])

    def stop(self) -> None:
        """Marks the end in the stream."""
        self._record(self._events[1])

    def milliseconds(self) -> float:
        """Waits for the end, and returns the time from the start to it."""
        elapsed = ctypes.c_float()
        with self._device.current():
            self._device._call("cuEventSynchronize", self._events[1])
            self._device._call("cuEventElapsedTime", ctypes.byref(elapsed), *self._events)
        return elapsed.value

    def close(self) -> None:
        with self._device.current():
            for event in self._events:
                self._device._call("cuEventDestroy_v2", event)

    def _record(self, event: ctypes.c_void_p) -> None:
        stream = ctypes.c_void_p(self._device.stream)
        with self._device.current():
            self._device._call("cuEventRecord", event, stream)


class DeviceArray:
    """An array in a GPU's memory, and one of the same shape in page-locked memory of the host.

    Attributes:
        address: in the GPU's memory.
        host: what `send` copies to the GPU, and `fetch` from it.
    """

    def __init__(self, device: CudaDevice, shape: tuple[int, ...], dtype: np.dtype):
        self._device = device
        count = int(np.prod(shape))
        self._bytes = ctypes.c_size_t(max(count * dtype.itemsize, 1))
        address, host = ctypes.c_uint64(), ctypes.c_void_p()
        with device.current():
            device._call("cuMemAlloc_v2", ctypes.byref(address), self._bytes)
            self.address = address.value
            try:
                device._call("cuMemHostAlloc", ctypes.byref(host), self._bytes, ctypes.c_uint(0))
            except CudaError:
                device._call("cuMemFree_v2", address)
                raise
        self._host = host
        memory = (ctypes.c_ubyte * self._bytes.value).from_address(host.value or 0)
        self.host = np.frombuffer(memoryview(memory), dtype, count).reshape(shape)

    def send(self) -> None:
        """Starts the copy from the host."""
        with self._device.current():
            self._device._call(
                "cuMemcpyHtoDAsync_v2",
                ctypes.c_uint64(self.address),
                self._host,
                self._bytes,
                ctypes.c_void_p(self._device.stream),
            )

    def fetch(self) -> None:
        """Starts the copy to the host."""
        with self._device.current():
            self._device._call(
                "cuMemcpyDtoHAsync_v2",
                self._host,
                ctypes.c_uint64(self.address),
                self._bytes,
                ctypes.c_void_p(self._device.stream),
            )

    def close(self) -> None:
        """Frees both; `host` must not be read any more."""
        with self._device.current():
            self._device._call("cuMemFree_v2", ctypes.c_uint64(self.address))
            self._device._call("cuMemFreeHost", self._host)
