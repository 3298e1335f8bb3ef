"""The INT8 file of TensorRT for exports that are made to be timed."""

from pathlib import Path
from typing import Callable, Optional

from ppdet_lite.core.errors import UserError
from ppdet_lite.export.calibration import images_of_files
from ppdet_lite.runtime.contract import CONFIG_FILE, INT8_FILES, ModelFolder
from ppdet_lite.utils.image_files import list_images

MOST_IMAGES = 8
"""Ranges that hold need 100 (`ppdet quantize`); times do not depend on them."""


def add_int8_file(folder: Path, photos: Optional[Path], say: Callable[[str], None] = print) -> None:
    """Adds TensorRT's INT8 file to an exported folder, calibrated on a few photos. Where that is
    not possible, `say` gets the reason, and the file is missing for those that look for it."""
    if photos is None:
        return say("without INT8: `calib_dir` names no photos for its ranges")
    try:
        from ppdet_lite.export.onnx.int8.qdq import TENSORRT_STYLE, write_qdq  # needs onnx

        files = ModelFolder(folder, "tensorrt")
        images = images_of_files(list_images(photos), photos.name, files.config, MOST_IMAGES)
        write_qdq(files.graph, images, folder / INT8_FILES["tensorrt"][0], TENSORRT_STYLE)
        files.config.with_files(folder).write(folder / CONFIG_FILE)
    except UserError as error:
        say(f"without INT8: {error}")
