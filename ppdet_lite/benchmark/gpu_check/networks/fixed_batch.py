"""From an export for any number of images to those for a fixed number, as engines want them."""

from dataclasses import replace
from pathlib import Path

from ppdet_lite.benchmark.against import fill_inputs, read_inputs, set_sizes
from ppdet_lite.core.errors import require
from ppdet_lite.export.onnx.cpu_session import CpuSession
from ppdet_lite.runtime.contract import CONFIG_FILE, InferConfig


def fix_batch(folder: Path, batch: int) -> None:
    """Sets the number of images in the .onnx files and in infer_cfg.yml of an exported folder.

    All outputs get the sizes that a run gives: an engine that launches the network as one CUDA
    graph needs to know them.
    """
    onnx = require("onnx", "a network set")
    config = InferConfig.read(folder / CONFIG_FILE)
    shapes: list[tuple[int, ...]] = []
    for path in sorted(folder.glob("*.onnx")):
        model = onnx.load(str(path))
        inputs = fill_inputs(read_inputs(path), config.input_hw or (0, 0), batch)
        set_sizes(model.graph.input, [inputs[entry.name].shape for entry in model.graph.input])
        shapes = shapes or [output.shape for output in CpuSession(model, path).run(inputs)]
        set_sizes(model.graph.output, shapes)
        onnx.save(model, str(path))
    replace(config, batch=batch).with_files(folder).write(folder / CONFIG_FILE)
