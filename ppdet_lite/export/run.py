"""From a trained model to files for deployment.

The exported graph takes `image` float32 [N, 3, H, W], `im_shape` [N, 2] and `scale_factor` [N, 2]
(those that it computes with: YOLOX needs no im_shape) and returns the detections [M, 6] and the
counts [N], or what an earlier stage gives; see `export_options`. `infer_cfg.yml` beside it holds
all that deployment code has to know.
"""

import contextlib
import os
from pathlib import Path
from typing import Iterator, Optional, Sequence, Union

import paddle
import yaml
from paddle import nn

from ppdet_lite.core.workspace import create
from ppdet_lite.evaluate.classes import classes_of_model
from ppdet_lite.evaluate.trained_model import load_trained_model
from ppdet_lite.export.check import (
    ExportMismatch,
    check_outputs,
    load_images,
    verify_export,
)
from ppdet_lite.export.folder import (
    check_room,
    move_into_place,
    part_beside,
    target_folder,
    writing,
)
from ppdet_lite.export.graph import check_onnx_export, save_onnx, save_paddle_graph
from ppdet_lite.export.onnx.graph import OPSET
from ppdet_lite.export.options import ExportOptions, export_options, with_input_size
from ppdet_lite.export.rewrite.batch_norm_folding import fold_batch_norm
from ppdet_lite.export.rewrite.cpu_forms import for_cpu
from ppdet_lite.export.rewrite.gathered_deform_conv import GatheredDeformConv2D
from ppdet_lite.export.rewrite.winograd_conv import WinogradConv2D
from ppdet_lite.export.runners import import_onnxruntime
from ppdet_lite.runtime.contract import CONFIG_FILE, InferConfig
from ppdet_lite.utils.interrupt import Interrupts
from ppdet_lite.utils.logger import get_logger

__all__ = ["ExportMismatch", "export_model"]


def export_model(
    cfg,
    output_dir: Union[str, Path] = "output_inference",
    verify: Sequence[Union[str, Path]] = (),
    formats: Sequence[str] = ("paddle",),
    input_size: Union[str, int, Sequence, None] = None,
    batch: Union[str, int, None] = None,
    stage: Optional[str] = None,
    portable_dcn: bool = False,
    target: str = "any",
) -> Path:
    """Exports `cfg.weights` to `<output_dir>/<config name>` and compares it with the model.

    An export that ends before the detections goes to `<config name>_raw` or `_decoded`. Batch norms
    are folded into the convolutions. Everything is written into a temporary folder beside the
    target first; a failed export or comparison leaves an earlier export as it was and nothing else
    behind.

    Args:
        verify: images or folders to compare on; none takes a built-in image.
        formats, input_size, batch, stage, portable_dcn, target: see `export_options`.

    Returns:
        The folder with the model, its parameters and `infer_cfg.yml`.

    Raises:
        ExportMismatch: what the exported model gives is not what the trained model gives.
        UserError: settings, weights, input size or images that cannot be used, a missing
            package, or no room to write.
    """
    options = export_options(cfg, formats, input_size, batch, stage, portable_dcn, target)
    if "onnx" in options.formats:  # found missing before the model is traced
        check_onnx_export()
        import_onnxruntime()
    images = load_images(verify)  # before the model, so that a wrong path costs no time
    name = cfg.name if options.stage == "nms" else f"{cfg.name}_{options.stage}"
    folder = target_folder(output_dir, name)
    # A GPU would gain nothing, and its convolutions differ more than is allowed here.
    with _stoppable() as interrupts, on_cpu():
        model, weights = load_trained_model(cfg)
        reader = create("TestReader", cfg)
        infer_cfg = describe_export(cfg, model, reader.preprocess_config(), weights, options)
        check_outputs(model, infer_cfg, images)
        _export_to(folder, model, infer_cfg, options, images, interrupts)
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


def _export_to(
    target: Path,
    model,
    infer_cfg: dict,
    options: ExportOptions,
    images: dict,
    interrupts: Interrupts,
) -> None:
    """Writes, compares and keeps the export, or nothing of it, also when it is interrupted."""
    network = exported_network(model, options)
    infer_cfg = {**infer_cfg, "target": target_of(network)}
    with part_beside(target, interrupts.step) as part:
        with writing(target):
            check_room(network, target.parent, options)
            # Paddle and paddle2onnx would crash, or go on, when an exception gets into their code.
            for name in options.formats:
                with interrupts.step():
                    save_inference_model(
                        network, part, infer_cfg, options._replace(formats=(name,))
                    )
        verify_export(model, part, infer_cfg, images)
        with interrupts.step():
            pass  # what was asked for in code that dropped it
        with writing(target):
            move_into_place(part, target)


@contextlib.contextmanager
def on_cpu() -> Iterator[None]:
    """Context in which Paddle computes on the CPU."""
    before = paddle.device.get_device()
    paddle.set_device("cpu")
    try:
        yield
    finally:
        paddle.set_device(before)


def describe_export(
    cfg, model, preprocess: list[dict], weights: Optional[str], options: ExportOptions
) -> dict:
    """The content of infer_cfg.yml, see `InferConfig`.

    `category_ids` is there where categories of COCO results are known; see `classes_of_model`.
    """
    nms, decode = model.post_process.nms, model.post_process.decode
    class_names, category_ids = classes_of_model(cfg, weights)
    preprocess = steps_of_all_releases(preprocess)
    if options.input_hw is not None:  # the list must not contradict the graph
        preprocess = with_input_size(preprocess, *options.input_hw)
    return InferConfig(
        preprocess,
        class_names,
        metric=str(cfg.get("metric", "COCO")),
        arch=model.export_arch,
        min_subgraph_size=model.min_subgraph_size,
        model_name=cfg.name,
        stage=options.stage,
        target=options.target,
        input_hw=options.input_hw,
        batch=options.batch,
        nms={"name": type(nms).__name__, **nms.arguments},
        decode={"name": type(decode).__name__, "conf_thresh": decode.conf_thresh},
        paddle_version=paddle.__version__,
        category_ids=category_ids,
        onnx_opset=OPSET if "onnx" in options.formats else None,
    ).content()


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


def exported_network(model: nn.Layer, options: ExportOptions) -> nn.Layer:
    """A copy of `model` in the form in which it is exported; gives the same boxes."""
    network = fold_batch_norm(model)
    if options.target == "cpu":
        replaced = for_cpu(network, options.input_hw)
        if any(replaced):
            get_logger().info(
                "for CPUs: %d convolutions by Winograd's method, %d deformable ones by gathered "
                "rows",
                *replaced,
            )
        else:
            get_logger().warning(
                "--target cpu: no layer of this network is large enough to gain by another form; "
                "the export is that of --target any, for every device"
            )
    return network


def target_of(network: nn.Layer) -> str:
    """One of TARGETS: "cpu" for a network with layers in a form for CPUs."""
    forms = (WinogradConv2D, GatheredDeformConv2D)
    return "cpu" if any(isinstance(layer, forms) for layer in network.sublayers()) else "any"


def save_inference_model(
    network: nn.Layer, folder: Union[str, Path], infer_cfg: dict, options: ExportOptions
) -> None:
    """Writes the graphs, their parameters and infer_cfg.yml into `folder`."""
    for name in options.formats:
        if name == "onnx":
            save_onnx(network, folder, options)
        else:
            save_paddle_graph(network, folder, options, legacy=name == "paddle-legacy")
    text = yaml.safe_dump(infer_cfg, sort_keys=False, allow_unicode=True, default_flow_style=None)
    (Path(folder) / CONFIG_FILE).write_text(text, encoding="utf-8")
