"""Weights for a network that is not trained yet, with which its values keep the size that they have
after a training, and its NMS has as much to do."""

from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppdet_lite.benchmark.gpu_check.networks.drawn_weights import drawn
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


def set_random_weights(
    cfg: Config,
    path: Path,
    input_hw: tuple[int, int],
    candidate_share: float = CANDIDATE_SHARE,
) -> str:
    """Writes random weights to `path` (.pdparams) and makes them the `weights` of `cfg`.

    Args:
        candidate_share: share of scores above the threshold.

    Returns:
        A line about them for a report.
    """
    paddle.seed(0)
    model = build_detector(cfg)
    draw_weights(model)
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

    set_statistics(model, sample["image"])
    with evaluation_mode(model), paddle.no_grad():
        raw = _spread_out(model, sample["image"], _output_convs(model.head))
        low, high = -60.0, 60.0
        for _ in range(16):
            middle = (low + high) / 2
            low, high = (middle, high) if passing(middle) <= candidate_share else (low, middle)
        for conv, channels in outputs:
            conv.bias[channels] += low
        share = passing(low)
    paddle.save(model.state_dict(), str(path))
    cfg["weights"] = str(path)
    return (
        f"random weights, objectness lowered until {share:.2%} of the scores pass the threshold, "
        "as with a trained network on photos"
    )


def draw_weights(model: nn.Layer) -> None:
    """Gives every convolution weights that follow from its name, whatever it started with.

    Those that predict the offsets of a deformable convolution start at zero; they get offsets of
    about half a pixel.
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim == 4:
            fan_in = int(np.prod(parameter.shape[1:]))
            variance = 2.0 if float(parameter.abs().max()) else 0.25
            deviation = np.float32((variance / fan_in) ** 0.5)
            parameter.set_value(drawn(name, tuple(parameter.shape)) * deviation)


def set_statistics(model: Any, image: paddle.Tensor) -> None:
    """Sets the stored statistics of all batch norms so that what they give for an image has a mean
    square of 1: half precision holds it, as in a trained network.

    They do not shift. A network of random weights whose norms take away the means of their channels
    multiplies rounding errors in each layer, which trained networks do not.
    """

    def normalize(norm: Any, inputs: tuple[paddle.Tensor, ...]) -> None:
        norm._mean.set_value(paddle.zeros_like(norm._mean))
        square = inputs[0].square().mean()
        norm._variance.set_value(paddle.full_like(norm._variance, float(square)))

    norms = [layer for layer in model.sublayers() if isinstance(layer, nn.BatchNorm2D)]
    hooks = [norm.register_forward_pre_hook(normalize) for norm in norms]
    with evaluation_mode(model), paddle.no_grad():
        model.raw_outputs(image)
    for hook in hooks:
        hook.remove()


def _spread_out(model: Any, image: paddle.Tensor, convs: list[Any]) -> list[np.ndarray]:
    """Gives output convolutions logits of mean 0 and deviation 1, whatever the untrained layers
    before them give.

    Returns:
        The raw outputs per level with them.
    """
    found: dict[int, np.ndarray] = {}

    def keep(conv: Any, _: Any, output: paddle.Tensor) -> None:
        found[id(conv)] = output.numpy()

    for conv in convs:
        conv.bias.set_value(paddle.zeros_like(conv.bias))
    hooks = [conv.register_forward_post_hook(keep) for conv in convs]
    # the cells of one image differ less than images do: others must not give far larger values
    images = paddle.concat([image, image.flip([3]), image.flip([2]), -image])
    model.raw_outputs(images)
    for hook in hooks:
        hook.remove()
    for conv in convs:
        mean = found[id(conv)].mean(axis=(0, 2, 3), keepdims=True)
        deviation = (found[id(conv)] - mean).std()
        conv.weight.set_value(conv.weight / deviation)
        conv.bias.set_value(paddle.to_tensor(-mean.reshape(-1) / deviation))
    return [level.numpy() for level in model.raw_outputs(image)]


def _output_convs(head: Any) -> list[Any]:
    """The convolutions that give objectness, and those that give classes apart from them."""
    of_objectness = [conv for conv, _ in head.objectness_outputs()]
    others = [
        layer
        for layer in head.sublayers()
        if isinstance(layer, nn.Conv2D)
        and layer.bias is not None
        and layer.weight.shape[0] % head.num_classes == 0
        and all(layer is not conv for conv in of_objectness)
    ]
    return of_objectness + others
