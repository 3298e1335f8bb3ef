"""SelfAdversarialTraining: the network first changes the image, then learns from it."""

from typing import Annotated, Any

import numpy as np
import paddle

from ppdet_lite.core.annotations import Positive, Probability, Rule, Whole
from ppdet_lite.core.workspace import register
from ppdet_lite.train.hooks.base import Hook, Run

_STREAM = 20  # first number of the seed, so that no other draw shares it

_Limits = Annotated[list[float], Rule(lambda v: len(v) == 2 and v[0] < v[1], "[lowest, highest]")]


@register
class SelfAdversarialTraining(Hook):
    """Self-adversarial training (YOLOv4, arXiv:2004.10934, section 3.3), as darknet does it.

    Half of the micro batches make two passes. In the first the image moves down the gradient of
    `Detector.attack_loss`, toward outputs without objects, and nothing else changes: batch norms
    use their running statistics, weights get no gradient. The second is the normal step on the
    changed image.

    Args:
        lr: rate of the image; it grows from 0 to this in the course of the training.
        prob: share of the micro batches.
        burn_in: first iteration.
        limits: lowest and highest value of the normalized image.
    """

    __checked__ = True

    def __init__(
        self,
        lr: Positive = 1.0,
        prob: Probability = 0.5,
        burn_in: Whole = 1000,
        limits: _Limits = [0.0, 1.0],  # noqa: B006 - never changed
    ):
        self.lr, self.prob, self.burn_in, self.limits = lr, prob, burn_in, limits

    def before_forward(self, run: Run, number: int, inputs: dict[str, Any]) -> None:
        state = run.state
        if state.iteration < self.burn_in:
            return
        place = (_STREAM, state.seed, state.ranks.rank, state.iteration, number)
        if np.random.default_rng(place).random() >= self.prob:
            return
        rate = self.lr * state.iteration / max(1, run.epochs * run.steps_per_epoch)
        image, model = inputs["image"].detach(), state.model
        image.stop_gradient = False
        model.eval()
        try:
            with state.precision.autocast():
                loss = model.attack_loss(model.raw_outputs(image))
            (gradient,) = paddle.grad([loss], [image])
        finally:
            model.train()
        inputs["image"] = (image.detach() - rate * gradient).clip(*self.limits)
