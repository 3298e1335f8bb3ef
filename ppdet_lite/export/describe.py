"""The content of infer_cfg.yml for an export."""

from typing import Any, Optional, Sequence

import paddle
from paddle import nn

from ppdet_lite.core.config import Config
from ppdet_lite.core.workspace import create
from ppdet_lite.evaluate.classes import classes_of_model
from ppdet_lite.export.formats.format import Format
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.runtime.contract import InferConfig, with_input_size


def describe_export(
    cfg: Config,
    model: nn.Layer,
    weights: Optional[str],
    options: ExportOptions,
    formats: Sequence[Format] = (),
) -> InferConfig:
    """The content of infer_cfg.yml for a model with these weights.

    Categories of COCO results are there where they are known; see `classes_of_model`.
    """
    nms, decode = model.post_process.nms, model.post_process.decode
    class_names, category_ids = classes_of_model(cfg, weights)
    preprocess = steps_of_all_releases(create("TestReader", cfg).preprocess_config())
    if options.input_hw is not None:  # the list must not contradict the graph
        preprocess = with_input_size(preprocess, *options.input_hw)
    further: dict[str, Any] = {}
    for form in formats:
        further.update(form.described)
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
        nms={"name": type(nms).__name__, **nms.arguments},
        decode={"name": type(decode).__name__, "conf_thresh": decode.conf_thresh},
        paddle_version=paddle.__version__,
        category_ids=category_ids,
        **further,
    )


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
