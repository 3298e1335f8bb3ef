"""Weights for a network that is not trained yet, with which its NMS has as much to do as after a
training."""

from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ppdet_lite.core.config import Config
from ppdet_lite.core.workspace import create
from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.export.check import built_in_image
from ppdet_lite.modeling.build_detector import build_detector
from ppdet_lite.modeling.modes import evaluation_mode
from ppdet_lite.runtime.contract import with_input_size

CANDIDATE_SHARE = 1e-3
"""Share of scores above the threshold on photos, with a trained network; random weights are shifted
to it, because the time of NMS depends on it alone."""


def set_random_weights(cfg: Config, path: Path, input_hw: tuple[int, int]) -> str:
    """Writes random weights to `path` (.pdparams) and makes them the `weights` of `cfg`.

    Returns:
        A line about them for a report.
    """
    paddle.seed(0)
    model = build_detector(cfg)
    steps = create("TestReader", cfg).preprocess_config()
    inputs = Preprocess(with_input_size(steps, *input_hw))(built_in_image())
    sample = {key: paddle.to_tensor(value[None]) for key, value in inputs.items()}
    outputs = model.head.objectness_outputs()
    threshold = model.post_process.nms.arguments["score_threshold"]

    def passing(shift: float) -> float:
        """Share of the scores that pass the threshold with the objectness shifted."""
        levels = [level.copy() for level in raw]
        for level, (_, channels) in zip(levels, outputs):
            level[:, channels] += shift
        tensors = [paddle.to_tensor(level) for level in levels]
        _, scores = model.decode(tensors, sample["im_shape"], sample["scale_factor"])
        return float((scores.numpy() >= threshold).mean())

    with evaluation_mode(model), paddle.no_grad():
        raw = _spread_out(model, sample["image"], [conv for conv, _ in outputs])
        low, high = -60.0, 60.0
        for _ in range(16):
            middle = (low + high) / 2
            low, high = (middle, high) if passing(middle) <= CANDIDATE_SHARE else (low, middle)
        for conv, channels in outputs:
            conv.bias[channels] += low
        share = passing(low)
    paddle.save(model.state_dict(), str(path))
    cfg["weights"] = str(path)
    return (
        f"random weights, objectness lowered until {share:.2%} of the scores pass the threshold, "
        "as with a trained network on photos"
    )


def _spread_out(model: Any, image: paddle.Tensor, convs: list[Any]) -> list[np.ndarray]:
    """Gives output convolutions logits of mean 0 and deviation 1, whatever the untrained layers
    before them give (YOLOX's own start at weight 0: all cells would be equal).

    Returns:
        The raw outputs per level with them.
    """
    rng = np.random.default_rng(0)
    for conv in convs:
        conv.weight.set_value(rng.standard_normal(conv.weight.shape, np.float32))
        conv.bias.set_value(np.zeros(conv.bias.shape, np.float32))
    raw = [level.numpy() for level in model.raw_outputs(image)]
    for level, conv in zip(raw, convs):
        own = level[:, : conv.weight.shape[0]]
        mean, deviation = own.mean(axis=(0, 2, 3), keepdims=True), own.std()
        conv.weight.set_value(conv.weight / deviation)
        conv.bias.set_value(paddle.to_tensor(-mean.reshape(-1) / deviation))
        own -= mean
        own /= deviation
    return raw
