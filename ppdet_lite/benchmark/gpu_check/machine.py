"""The machine that a GPU check runs on: what it has, and which programs."""

import platform
import subprocess
from importlib import metadata
from typing import Optional

from ppdet_lite.utils.cpu import core_count, cpu_info

PACKAGES = {
    "onnxruntime-gpu": "ONNX Runtime (GPU)",
    "onnxruntime": "ONNX Runtime",
    "onnxruntime-ep-nv-tensorrt-rtx-cu13": "its TensorRT for RTX provider",
    "tensorrt": "TensorRT",
    "tensorrt-rtx": "TensorRT for RTX",
    "paddlepaddle-gpu": "Paddle (GPU)",
    "paddlepaddle": "Paddle",
    "openvino": "OpenVINO",
    "torch": "PyTorch",
}
"""Distributions whose versions matter, and what to call them."""

QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")


def gpu_facts() -> Optional[list[str]]:
    """Name, driver and memory of the first GPU of NVIDIA; None without one."""
    try:
        answer = subprocess.run(QUERY, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = answer.stdout.strip().splitlines()
    return [fact.strip() for fact in lines[0].split(",")] if lines else None


def describe_machine() -> dict[str, str]:
    """By the names in reports."""
    facts = {}
    gpu = gpu_facts()
    if gpu is not None:
        name, driver, memory = gpu
        facts["GPU"] = f"{name} ({memory}, driver {driver})"
    lines = (line.partition(":") for line in cpu_info().splitlines())
    names = [value.strip() for key, _, value in lines if key.strip() == "model name"]
    names += [name for name in (platform.processor(), platform.machine()) if name]
    facts["CPU"] = f"{names[0]} ({core_count()} cores)"
    facts["Python"] = platform.python_version()
    for package, title in PACKAGES.items():
        try:
            facts[title] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return facts
