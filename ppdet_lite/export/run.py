"""From a trained model to files for deployment.

The exported graph takes `image` float32 [N, 3, H, W], `im_shape` [N, 2] and `scale_factor` [N, 2]
(those that it computes with: YOLOX needs no im_shape) and returns the detections [M, 6] and the
counts [N], or what an earlier stage gives; see `runtime.contract.STAGES`. `infer_cfg.yml` beside it
holds all that deployment code has to know.
"""

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Iterator, Sequence, Union

import paddle

from ppdet_lite.core.config import Config
from ppdet_lite.evaluate.trained_model import load_trained_model
from ppdet_lite.export.check import ExportMismatch, check_outputs, load_images, verify_export
from ppdet_lite.export.describe import describe_export
from ppdet_lite.export.folder import (
    check_room,
    move_into_place,
    part_beside,
    target_folder,
    writing,
)
from ppdet_lite.export.formats.format import find_formats
from ppdet_lite.export.options import PLAIN, ExportOptions
from ppdet_lite.export.rewrite.rewrites import exported_network, target_of
from ppdet_lite.runtime.contract import CONFIG_FILE
from ppdet_lite.utils.interrupt import Interrupts
from ppdet_lite.utils.logger import get_logger

__all__ = ["ExportMismatch", "export_model"]


def export_model(
    cfg: Config,
    output_dir: Union[str, Path] = "output_inference",
    options: ExportOptions = PLAIN,
    verify: Sequence[Union[str, Path]] = (),
) -> Path:
    """Exports `cfg.weights` to `<output_dir>/<config name>` and compares it with the model.

    An export that ends before the detections goes to `<config name>_raw` or `_decoded`. A failed
    export or comparison leaves an earlier export as it was and nothing else behind.

    Args:
        verify: images or folders to compare on; none takes a built-in image.

    Returns:
        The folder with the files and `infer_cfg.yml`.

    Raises:
        ExportMismatch: what the exported model gives is not what the trained model gives.
        UserError: settings, weights, input size or images that cannot be used, a missing
            package, or no room to write.
    """
    options = options.for_config(cfg)
    formats = find_formats(options)
    images = load_images(verify)  # before the model, so that a wrong path costs no time
    name = cfg.name if options.stage == "nms" else f"{cfg.name}_{options.stage}"
    folder = target_folder(output_dir, name)
    # A GPU would gain nothing, and its convolutions differ more than is allowed here.
    with _stoppable() as interrupts, on_cpu():
        model, weights = load_trained_model(cfg)
        config = describe_export(cfg, model, weights, options, formats)
        check_outputs(model, config, images)
        network = exported_network(model, options)
        config = replace(config, target=target_of(network))
        with part_beside(folder, interrupts.step) as part:
            with writing(folder):
                check_room(network, folder.parent, options, formats)
                config.write(part / CONFIG_FILE)
                for form in formats:
                    # Paddle and paddle2onnx would crash, or go on, when an exception gets into
                    # their code.
                    with interrupts.step():
                        form.write(network, part, options)
                config.with_files(part).write(part / CONFIG_FILE)
            trials = [trial for form in formats for trial in form.trials(part)]
            verify_export(model, trials, config, images)
            with interrupts.step():
                pass  # what was asked for in code that dropped it
            with writing(folder):
                move_into_place(part, folder)
    get_logger().info("exported to %s: %s", folder, ", ".join(sorted(os.listdir(folder))))
    return folder


@contextlib.contextmanager
def _stoppable() -> Iterator[Interrupts]:
    """Context that ends with KeyboardInterrupt, and no other error, if this process is asked to
    stop: Paddle's own code makes other errors of that exception."""
    with Interrupts() as interrupts:
        try:
            yield interrupts
        except Exception as error:
            if interrupts.asked:
                raise KeyboardInterrupt from error
            raise


@contextlib.contextmanager
def on_cpu() -> Iterator[None]:
    """Context in which Paddle computes on the CPU."""
    before = paddle.device.get_device()
    paddle.set_device("cpu")
    try:
        yield
    finally:
        paddle.set_device(before)
