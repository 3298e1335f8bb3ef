"""Execution providers of ONNX Runtime: asked for, and found to be there or missing."""

import contextlib
import ctypes
import io
from pathlib import Path
from typing import Any, NamedTuple

from ppdet_lite.core.errors import UserError

CPU = "CPUExecutionProvider"
LIBRARY_NAMES = ("libonnxruntime_providers_{}.so", "onnxruntime_providers_{}.dll")


class Provider(NamedTuple):
    """An execution provider.

    Attributes:
        name: ONNX Runtime's.
        title: for people.
        library: the part of its library's name that differs between providers; empty for none.
        install: what to install for it.
    """

    name: str
    title: str
    library: str = ""
    install: str = ""


PROVIDERS = {
    "CPU": Provider(CPU, "CPU"),
    "GPU": Provider(
        "CUDAExecutionProvider",
        "CUDA",
        "cuda",
        "pip install 'onnxruntime-gpu[cuda,cudnn]' (in place of onnxruntime), and NVIDIA's driver",
    ),
}
"""By device."""


def find_provider(device: str, onnxruntime: Any) -> Provider:
    """The provider for a device, whose libraries are loaded.

    Raises:
        UserError: this ONNX Runtime lacks it, or a library that it needs is not found.
    """
    where = f"`engine` onnxruntime, `device` {device}"
    if device not in PROVIDERS:
        raise UserError(f"{where}: found {device}, allowed: {', '.join(PROVIDERS)}")
    provider = PROVIDERS[device]
    if provider.name not in onnxruntime.get_available_providers():
        raise UserError(
            f"{where}: found no {provider.name} in this onnxruntime {onnxruntime.__version__}; "
            f"{provider.install}, or use `device` CPU"
        )
    if provider.library and (missing := _missing_library(onnxruntime, provider.library)):
        raise UserError(f"{where}: {missing}; {provider.install}, or use `device` CPU")
    return provider


def check_running(session: Any, provider: Provider, device: str) -> None:
    """Refuses a session in which another provider took the place of `provider`: ONNX Runtime leaves
    out providers that fail, and computes on the CPU."""
    found = session.get_providers()
    if provider.name not in found:
        raise UserError(
            f"`engine` onnxruntime, `device` {device}: {provider.name} failed to start, found "
            f"{', '.join(found)}; its messages are above. {provider.install}, or use `device` CPU"
        )


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
                # Without a "cannot open" all was found: its symbols are in the library that ONNX
                # Runtime loads before it.
                if "undefined symbol" not in str(error):
                    return f"{path.name} cannot be loaded, {error}"
    return ""
