#!/usr/bin/env python3
"""Shows what this Paddle makes of INT8 on CPUs, on a network of three convolutions.

Calibration (PTQ) and quantization-aware training (QAT) of `paddle.quantization`, exported in both
of Paddle's formats, are run by Paddle Inference and compared with what they were made from.
`ppdet quantize` and the key `qat` refuse Paddle for what this prints (docs/quantization.md).
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = """examples:
  python tools/dev/paddle_int8.py
"""
FORMATS = {"model.json": "1", "model.pdmodel": "0"}
"""Graph file -> value of Paddle's flag FLAGS_enable_pir_api."""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "FILE"), help=argparse.SUPPRESS)
    return parser


def quantized(method: str, network, inputs):
    """The network as PTQ or QAT converts it."""
    import paddle
    from paddle.quantization import PTQ, QAT, QuantConfig
    from paddle.quantization.observers import AbsmaxObserver
    from paddle.quantization.quanters import FakeQuanterWithAbsMaxObserver

    if method == "PTQ":
        tool = PTQ(QuantConfig(AbsmaxObserver(), AbsmaxObserver()))
        observed = tool.quantize(network)
    else:
        quanter = FakeQuanterWithAbsMaxObserver(moving_rate=0.9)
        tool = QAT(QuantConfig(quanter, quanter))
        network.train()
        observed = tool.quantize(network)
        optimizer = paddle.optimizer.SGD(1e-4, parameters=observed.parameters())
    for _ in range(8):
        output = observed(inputs)
        if method == "QAT":
            output.square().mean().backward()
            optimizer.step()
            optimizer.clear_grad()
    observed.eval()
    return tool.convert(observed)


def try_one(method: str, file: str) -> None:
    """Prints a line for each way to run one export."""
    import numpy as np
    import paddle
    from paddle import inference, nn

    paddle.seed(0)
    network = nn.Sequential(
        *(nn.Conv2D(3, 32, 3), nn.ReLU(), nn.Conv2D(32, 32, 3), nn.ReLU(), nn.Conv2D(32, 8, 1))
    )
    network.eval()
    inputs = paddle.randn([1, 3, 64, 64])
    converted = quantized(method, network, inputs)
    converted.eval()
    exact = converted(inputs).numpy()
    with tempfile.TemporaryDirectory() as folder:
        shape = paddle.static.InputSpec([1, 3, 64, 64])
        paddle.jit.save(converted, str(Path(folder, "model")), [shape])
        for kernels in ("oneDNN INT8", "oneDNN", "Paddle"):
            config = inference.Config(str(Path(folder, file)), str(Path(folder, "model.pdiparams")))
            config.disable_glog_info()
            if kernels == "Paddle":
                config.disable_mkldnn()
            else:
                config.enable_mkldnn()
            if kernels == "oneDNN INT8":
                config.enable_mkldnn_int8()
            try:
                predictor = inference.create_predictor(config)
                predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(
                    inputs.numpy()
                )
                predictor.run()
                name = predictor.get_output_names()[0]
                found = predictor.get_output_handle(name).copy_to_cpu()
            except Exception as error:
                lines = [line.strip() for line in str(error).splitlines()]
                reason = next((line for line in lines if "Error:" in line), lines[-1])
                result = f"cannot be run: {reason}"
            else:
                gap = np.abs(found - exact).max() / np.abs(exact).max()
                result = f"runs; differs from the converted network by {gap:.2g} of its largest"
            print(f"{method}, {file}, {kernels}: {result}", flush=True)


def main(args: argparse.Namespace) -> None:
    """Tries every method and format, each in a process of its own with its flag."""
    if args.one:
        try_one(*args.one)
        return
    for method in ("PTQ", "QAT"):
        for file, flag in FORMATS.items():
            done = subprocess.run(
                [sys.executable, __file__, "--one", method, file],
                env={**os.environ, "FLAGS_enable_pir_api": flag},
                capture_output=True,
                text=True,
            )
            lines = [line for line in done.stdout.splitlines() if line.startswith(method)]
            if done.returncode:
                lines.append(f"{method}, {file}: {done.stderr.strip().splitlines()[-1]}")
            print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main(build_parser().parse_args())
