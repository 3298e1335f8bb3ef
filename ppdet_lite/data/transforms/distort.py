"""RandomDistort: brightness, contrast, saturation and hue."""

from typing import Sequence

import numpy as np

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.data.pixels.color import ChannelOrder, HueShift, LevelMap, Saturation
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import Context, Transform, checked_probability, lazy_image


@register
class RandomDistort(Transform):
    """Change colors at random with the arithmetic of PIL's ImageEnhance.

    Args:
        hue: [lower, upper, probability]; the shift is added to a hue circle of 256 steps.
        saturation, contrast, brightness: [lower, upper, probability] of the factor.
        random_apply: random order and at most `count` of the four; otherwise brightness first,
            then contrast before or after saturation and hue.
        count: how many of the four may be applied when `random_apply`.
        random_channel: half of the time the color channels change places.
        prob: probability that anything happens.
    """

    keeps_size = True

    def __init__(
        self,
        hue: Sequence[float] = (-18, 18, 0.5),
        saturation: Sequence[float] = (0.5, 1.5, 0.5),
        contrast: Sequence[float] = (0.5, 1.5, 0.5),
        brightness: Sequence[float] = (0.5, 1.5, 0.5),
        random_apply: bool = True,
        count: int = 4,
        random_channel: bool = False,
        prob: float = 1.0,
    ):
        given = {
            "brightness": brightness,
            "contrast": contrast,
            "saturation": saturation,
            "hue": hue,
        }
        for name, values in given.items():
            if len(values) != 3:
                raise ConfigError(f"{name}: found {list(values)}, allowed: [lower, upper, prob]")
        self.ranges = {name: [float(value) for value in values] for name, values in given.items()}
        self.random_apply = random_apply
        self.count = count
        self.random_channel = random_channel
        self.prob = checked_probability(prob, "prob")

    def apply(self, sample: Sample, context: Context) -> Sample:
        rng = context.rng
        if rng.random() >= self.prob:
            return sample
        image = lazy_image(sample)
        for name in self._order(rng):
            lower, upper, probability = self.ranges[name]
            if rng.random() < probability:
                image = _changed(image, name, rng.uniform(lower, upper))
        if self.random_channel and rng.random() < 0.5:
            first, second, third = rng.permutation(3).tolist()
            image = image.recolor(ChannelOrder((first, second, third)))
        return {**sample, "image": image}

    def _order(self, rng: np.random.Generator) -> list[str]:
        names = list(self.ranges)
        if self.random_apply:
            return [names[index] for index in rng.permutation(len(names))[: self.count]]
        contrast_last = rng.random() < 0.5
        if contrast_last:
            return ["brightness", "saturation", "hue", "contrast"]
        return ["brightness", "contrast", "saturation", "hue"]


def _changed(image: LazyImage, name: str, amount: float) -> LazyImage:
    if name == "contrast":
        return image.contrast(amount)
    kinds = {"brightness": LevelMap, "saturation": Saturation, "hue": HueShift}
    return image.recolor(kinds[name](amount))
