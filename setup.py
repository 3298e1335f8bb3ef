"""Installs ppdet_lite: `pip install -e ".[cpu]"`; without `[cpu]` beside a paddlepaddle-gpu."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# Paddle itself is the extra `cpu`: the GPU builds are another package, chosen by CUDA version.
DEPENDENCIES = [
    "numpy>=1.21",  # arrays of annotations, boxes and batches
    # JPEG decoding, resizing, drawing; headless: servers have no X libraries
    "opencv-python-headless>=4.5",
    "pycocotools>=2.0.6",  # the reference implementation of the COCO metric
    "pyyaml>=5.4",  # configurations
    "shapely>=2.0",  # clips object outlines when an image is cropped
    "tqdm>=4.60",  # progress bars
    "visualdl>=2.4",  # training curves and example images (--use_vdl)
]
# Both for Python up to 3.12, and with Paddle 3: paddle2onnx has no builds for others.
ONNX = [
    "onnx>=1.16",  # reads and writes .onnx files
    "onnxruntime>=1.17",  # runs them for the check; deformable convolution since 1.25
    "paddle2onnx>=2.1",  # converts the network; decoding and NMS are written by this package
]
OPENVINO = ["openvino>=2024.0"]  # runs model_portable.onnx

EXTRAS = {
    "cpu": ["paddlepaddle>=2.6"],
    "onnx": ONNX,
    "openvino": OPENVINO,
    "safetensors": ["safetensors>=0.4"],  # reads .safetensors weight files
    "test": [
        "pytest>=7",
        "ruff==0.17.*",  # lint and format; another version formats differently
        "safetensors>=0.4",
        # Where an ONNX Runtime with deformable convolution is to be had; the tests skip elsewhere.
        *(
            f"{package}; python_version >= '3.11' and python_version < '3.13'"
            for package in (*ONNX, *OPENVINO)
        ),
    ],
}

setup(
    name="ppdet_lite",
    version=re.search(r'__version__ = "(.+?)"', (ROOT / "ppdet_lite/__init__.py").read_text())[1],
    description="PP-YOLOv2 and its family on PaddlePaddle: train, evaluate, export, deploy",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.9",
    packages=find_packages(include=["ppdet_lite", "ppdet_lite.*"]),
    install_requires=DEPENDENCIES,
    extras_require=EXTRAS,
)
