"""TensorFloat-32 in NVIDIA's libraries, of which some have no other switch than the environment."""

import os

from ppdet_lite.core.errors import UserError

OVERRIDE = "NVIDIA_TF32_OVERRIDE"
"""The value 0 turns TF32 off in cuBLAS, cuDNN and TensorRT, whatever a program asks for."""


def turn_tf32_off() -> None:
    """Turns TF32 off in this process, from the next start of the libraries on."""
    os.environ[OVERRIDE] = "0"


def check_tf32_possible() -> None:
    """Raises a UserError where the environment, or an engine opened before, turned TF32 off."""
    if os.environ.get(OVERRIDE) == "0":
        raise UserError(
            f"`tf32`: {OVERRIDE} is 0, which turns it off in all of NVIDIA's libraries; start a "
            "process without it, and without engines that set it (TensorRT in ONNX Runtime)"
        )
