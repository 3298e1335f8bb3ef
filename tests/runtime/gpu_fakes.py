"""NVIDIA's driver and TensorRT on machines without them: memory of the host stands for a GPU's, and
an "engine" adds up its inputs. Files of graphs are JSON here: inputs and outputs with shapes."""

import ctypes
import json
from functools import partial
from types import SimpleNamespace

import numpy as np

STREAM, GRAPH, CONTEXT = 0x1234567890, 0x2345678901, 0x3456789012
"""Handles with more than 32 bits, which must arrive whole."""


class FakeDriver:
    """The functions of libcuda that `CudaDevice` calls; each notes its name in `calls`.

    Attributes:
        allocated: number of pieces of memory that were not freed.
        failing: name of a function that fails with error 2.
    """

    def __init__(self):
        self.calls, self.memory, self.failing = [], {}, ""
        self.recording, self.graphs, self.depth = None, {}, 0
        self.events, self.now = {}, 0.0

    @property
    def allocated(self):
        return len(self.memory)

    def __getattr__(self, name):
        if not name.startswith("cu"):
            raise AttributeError(name)

        def call(*arguments):
            self.calls.append(name)
            if name == self.failing:
                return 2
            return getattr(self, f"do_{name}", lambda *rest: None)(*arguments) or 0

        return call

    def do_cuDevicePrimaryCtxRetain(self, out, device):
        out._obj.value = CONTEXT

    def do_cuCtxPushCurrent_v2(self, context):
        assert context.value == CONTEXT
        self.depth += 1

    def do_cuCtxPopCurrent_v2(self, out):
        self.depth -= 1

    def do_cuStreamCreate(self, out, flags):
        assert self.depth >= 1 and flags.value == 1
        out._obj.value = STREAM

    def do_cuDeviceGetName(self, text, length, device):
        text.value = b"NVIDIA Test GPU"

    def do_cuDeviceGetAttribute(self, out, kind, device):
        out._obj.value = {75: 9, 76: 0}[kind.value]

    def do_cuDriverGetVersion(self, out):
        out._obj.value = 13000

    def do_cuGetErrorString(self, code, out):
        out._obj.value = b"out of memory"

    def do_cuMemAlloc_v2(self, out, size):
        assert self.depth >= 1
        buffer = ctypes.create_string_buffer(size.value)
        out._obj.value = ctypes.addressof(buffer)
        self.memory[out._obj.value] = buffer

    def do_cuMemHostAlloc(self, out, size, flags):
        self.do_cuMemAlloc_v2(out, size)

    def do_cuMemFree_v2(self, address):
        del self.memory[address.value]

    do_cuMemFreeHost = do_cuMemFree_v2

    def do_cuMemcpyHtoDAsync_v2(self, target, source, size, stream):
        assert stream.value == STREAM and self.depth >= 1
        ctypes.memmove(target.value, source.value, size.value)

    do_cuMemcpyDtoHAsync_v2 = do_cuMemcpyHtoDAsync_v2

    def do_cuStreamBeginCapture_v2(self, stream, mode):
        self.recording = []

    def do_cuStreamEndCapture(self, stream, out):
        self.graphs[GRAPH], self.recording = self.recording, None
        out._obj.value = GRAPH

    def do_cuGraphInstantiateWithFlags(self, out, graph, flags):
        out._obj.value = graph.value

    def do_cuGraphLaunch(self, graph, stream):
        assert stream.value == STREAM
        for work in self.graphs[graph.value]:
            work()

    def do_cuEventCreate(self, out, flags):
        assert self.depth >= 1
        out._obj.value = CONTEXT + len(self.events) + 1
        self.events[out._obj.value] = None

    def do_cuEventRecord(self, event, stream):
        assert stream.value == STREAM and event.value in self.events
        self.now += 1.5
        self.events[event.value] = self.now

    def do_cuEventElapsedTime(self, out, start, end):
        out._obj.value = self.events[end.value] - self.events[start.value]

    def do_cuEventDestroy_v2(self, event):
        del self.events[event.value]

    def do_cuGraphExecDestroy(self, graph):
        del self.graphs[graph.value]


class Logger:
    ERROR, INTERNAL_ERROR, WARNING = "error", "internal", "warning"


class Config(SimpleNamespace):
    def set_flag(self, flag):
        self.flags = self.flags | {flag}

    def clear_flag(self, flag):
        self.flags = self.flags - {flag}

    def add_optimization_profile(self, profile):
        self.profiles = [profile]


class Profile(dict):
    def set_shape(self, name, *shapes):
        self[name] = shapes


class Builder:
    def __init__(self, package, logger):
        self.package, self.logger = package, logger

    def create_network(self, flags):
        return SimpleNamespace(flags=flags)

    def create_builder_config(self):
        return Config(flags={"TF32"}, profiles=[])

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        self.package.made.append(SimpleNamespace(network=network, config=config))
        if self.package.broken:
            self.logger.log(Logger.WARNING, "slow")
            self.logger.log(Logger.ERROR, f"no kernel\nfor {self.package.broken}")
            return None
        return json.dumps(network.content).encode()


class Parser:
    def __init__(self, package, network, logger):
        self.package, self.network = package, network

    @property
    def num_errors(self):
        return len(self.package.refused)

    def get_error(self, index):
        operator, node, reason = self.package.refused[index]
        return SimpleNamespace(
            node_operator=lambda: operator,
            node_name=lambda: node,
            node=lambda: 7,
            desc=lambda: reason,
        )

    def parse_from_file(self, path):
        if self.package.refused:
            return False
        with open(path) as file:
            self.network.content = content = json.load(file)
        for kind in ("inputs", "outputs"):
            tensors = [SimpleNamespace(name=n, shape=s) for n, s in content[kind].items()]
            setattr(self.network, f"num_{kind}", len(tensors))
            setattr(self.network, f"get_{kind[:-1]}", tensors.__getitem__)
        return True


class Engine:
    def __init__(self, package, content):
        self.package, self.content = package, content
        # another order than the file's
        self.names = [*reversed(content["outputs"]), *content["inputs"]]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, index):
        return self.names[index]

    def get_tensor_dtype(self, name):
        return "float32"

    def create_execution_context(self, config=None):
        assert self.package.driver.depth >= 1  # the GPU is current
        self.package.contexts.append(config)
        return Context(self.package, self.content)

    def create_runtime_config(self):
        return RuntimeConfig()


class RuntimeConfig:
    """Of TensorRT for RTX."""

    def create_runtime_cache(self):
        self.loaded = []
        return SimpleNamespace(deserialize=self.loaded.append, serialize=lambda: b"kernels")

    def set_runtime_cache(self, cache):
        self.cache = cache


class Context:
    """Every output is the sum of all inputs, added to its place in the file."""

    def __init__(self, package, content):
        self.package, self.content, self.shapes, self.addresses = package, content, {}, {}

    def set_input_shape(self, name, shape):
        self.shapes[name] = shape
        return len(shape) == len(self.content["inputs"][name])

    def get_tensor_shape(self, name):
        batch = self.shapes["image"][0]
        shape = self.shapes.get(name) or self.content["outputs"][name]
        return tuple(batch if side == "N" else side for side in shape)

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        assert stream == STREAM and self.package.driver.depth >= 1
        recording = self.package.driver.recording
        if recording is None:
            self.compute()
        else:
            recording.append(self.compute)
        return self.package.runs

    def compute(self):
        total = sum(self.view(name).sum() for name in self.content["inputs"])
        for index, name in enumerate(self.content["outputs"]):
            self.view(name)[:] = total + index

    def view(self, name):
        shape = self.get_tensor_shape(name)
        memory = (ctypes.c_ubyte * (int(np.prod(shape)) * 4)).from_address(self.addresses[name])
        return np.frombuffer(memory, np.float32).reshape(shape)


class Runtime:
    def __init__(self, package, logger):
        self.package = package

    def deserialize_cuda_engine(self, plan):
        return Engine(self.package, json.loads(plan))


def fake_tensorrt(driver, name="tensorrt", version="10.9.0"):
    """A package `tensorrt` or `tensorrt_rtx` whose engines run in the memory of `driver`. Its
    `made` notes what is asked of builders, `contexts` with which settings engines run; `refused`
    holds (operator, node, reason) that its parser cannot take; `broken` is why a build fails;
    `runs` is False for engines that fail."""
    package = SimpleNamespace(
        __name__=name,
        __version__=version,
        ILogger=Logger,
        BuilderFlag=SimpleNamespace(TF32="TF32"),
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
        DynamicShapesKernelSpecializationStrategy=SimpleNamespace(EAGER="eager"),
        nptype=lambda name: np.dtype(name).type,
        driver=driver,
        made=[],
        contexts=[],
        refused=[],
        broken="",
        runs=True,
    )
    package.Builder = partial(Builder, package)
    package.OnnxParser = partial(Parser, package)
    package.Runtime = partial(Runtime, package)
    return package
