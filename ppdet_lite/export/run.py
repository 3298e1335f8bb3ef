"""From a trained model to files for deployment.

The exported graph takes `image` float32 [N, 3, H, W], `im_shape` [N, 2] and `scale_factor` [N, 2]
(those that it computes with: YOLOX needs no im_shape) and returns the detections [M, 6] and the
counts [N], or what another stage gives; see `runtime.contract.STAGES`. `infer_cfg.yml` beside it
holds all that deployment code has to know.
"""

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Iterator, Optional, Sequence, Union

import paddle
from paddle import nn

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.core.workspace import create
from ppdet_lite.device.select import check_gpu
from ppdet_lite.evaluate.classes import classes_of_model
from ppdet_lite.evaluate.thresholds import thresholds_of_weights
from ppdet_lite.evaluate.trained_model import load_trained_model
from ppdet_lite.export.calibration import find_calibration
from ppdet_lite.export.check import check_outputs, load_images, verify_export
from ppdet_lite.export.folder import check_room, move_into_place, part_beside, writing
from ppdet_lite.export.formats.format import Format, find_formats
from ppdet_lite.export.options import PLAIN, ExportOptions
from ppdet_lite.export.rewrite.cpu_forms import target_of
from ppdet_lite.export.rewrite.network import exported_network
from ppdet_lite.modeling.post_process.nms_layers import MatrixNMS
from ppdet_lite.ops.nms import MOST_SORTED, fixed_candidates
from ppdet_lite.runtime.contract import CONFIG_FILE, InferConfig, with_input_size
from ppdet_lite.utils.interrupt import Interrupts
from ppdet_lite.utils.logger import get_logger


def export_model(
    cfg: Config,
    output_dir: Union[str, Path] = "output_inference",
    options: ExportOptions = PLAIN,
    verify: Sequence[Union[str, Path]] = (),
) -> Path:
    """Exports `cfg.weights` to `<output_dir>/<config name>` and compares it with the model.

    An export of another stage than nms goes to `<config name>_<stage>`. A failed export or
    comparison leaves an earlier export as it was and nothing else behind.

    Args:
        verify: images or folders to compare on; none takes a built-in image.

    Returns:
        The folder with the files and `infer_cfg.yml`.

    Raises:
        ExportMismatch: what the exported model gives is not what the trained model gives.
        UserError: settings, weights, input size or images that cannot be used, a missing
            package, or no room to write.
    """
    check_gpu(cfg.settings.use_gpu)  # as training and evaluation do
    options = options.for_config(cfg)
    formats = find_formats(options)
    images = load_images(verify)  # before the model, so that a wrong path costs no time
    folder = export_folder(cfg, output_dir, options.stage)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: cannot be written (it is not a folder)")
    # A GPU would gain nothing, and its convolutions differ more than is allowed here.
    with on_cpu() as interrupts:
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
                    if options.precision == "fp16" and form.has_half_form:
                        calibration = find_calibration(cfg, options.calib_dir, config, images)
                        config = replace(config, fp16=form.write_half(part, calibration))
                config.with_files(part).write(part / CONFIG_FILE)
            trials = [trial for form in formats for trial in form.trials(part)]
            verify_export(model, trials, config, images)
            with interrupts.step():
                pass  # what was asked for in code that dropped it
            with writing(folder):
                move_into_place(part, folder)
    get_logger().info("exported to %s: %s", folder, ", ".join(sorted(os.listdir(folder))))
    return folder


def export_folder(cfg: Config, output_dir: Union[str, Path], stage: str) -> Path:
    """The folder below `output_dir` to which `export_model` writes."""
    folder = Path(output_dir, cfg.name if stage == "nms" else f"{cfg.name}_{stage}")
    return Path(os.path.realpath(folder)) if folder.is_symlink() else folder


def describe_export(
    cfg: Config,
    model: nn.Layer,
    weights: Optional[str],
    options: ExportOptions,
    formats: Sequence[Format] = (),
) -> InferConfig:
    """The content of infer_cfg.yml for a model with these weights; with the categories of COCO
    results where they are known, see `classes_of_model`."""
    nms, decode = model.post_process.nms, model.post_process.decode
    class_names, category_ids = classes_of_model(cfg, weights)
    thresholds = thresholds_of_weights(weights, len(class_names))
    preprocess = steps_of_all_releases(create("TestReader", cfg).preprocess_config())
    if options.input_hw is not None:  # the list must not contradict the graph
        preprocess = with_input_size(preprocess, *options.input_hw)
    return InferConfig(
        preprocess,
        class_names,
        metric=cfg.settings.metric,
        arch=model.export_arch,
        min_subgraph_size=model.min_subgraph_size,
        model_name=cfg.name,
        stage=options.stage,
        target=options.target,
        input_hw=options.input_hw,
        batch=options.fixed_batch,
        nms={"name": type(nms).__name__, **nms.arguments, **_fixed_size(model, options.stage)},
        decode={"name": type(decode).__name__, "conf_thresh": decode.conf_thresh},
        paddle_version=paddle.__version__,
        category_ids=category_ids,
        thresholds=thresholds,
        **{key: value for form in formats for key, value in form.described.items()},
    )


def _fixed_size(model: nn.Layer, stage: str) -> dict[str, int]:
    """The candidates that enter an NMS of fixed size; a ConfigError if it can have none."""
    if stage != "nms_fixed":
        return {}
    nms = model.post_process.nms
    keep_top_k = nms.arguments.get("keep_top_k")
    if keep_top_k not in range(1, MOST_SORTED + 1):
        raise ConfigError(
            f"{type(nms).__name__}.keep_top_k: found {keep_top_k}, allowed with the stage {stage}: "
            f"1 to {MOST_SORTED}, the number of rows that every image gets"
        )
    return {"candidates": fixed_candidates(keep_top_k, isinstance(nms, MatrixNMS))}


def steps_of_all_releases(preprocess: list[dict]) -> list[dict]:
    """The same steps without the key `norm_type` of NormalizeImage.

    PaddleDetection's deploy script passes the keys on as arguments, and its earlier releases know
    no `norm_type`. Without one a script takes "mean_std"; "none" is a mean of 0 and a std of 1.
    """
    steps = [dict(step) for step in preprocess]
    for step in steps:
        if step.pop("norm_type", "mean_std") == "none":
            step.update(mean=[0.0] * 3, std=[1.0] * 3)
    return steps


@contextlib.contextmanager
def on_cpu() -> Iterator[Interrupts]:
    """Context in which Paddle computes on the CPU. It ends with KeyboardInterrupt, and no other
    error, if this process is asked to stop: Paddle's own code makes other errors of that exception.
    """
    before = paddle.device.get_device()
    with Interrupts() as interrupts:
        paddle.set_device("cpu")
        try:
            yield interrupts
        except Exception as error:
            if interrupts.asked:
                raise KeyboardInterrupt from error
            raise
        finally:
            paddle.set_device(before)
