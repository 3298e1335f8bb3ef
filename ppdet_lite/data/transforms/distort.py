"""RandomDistort and AugmentHSV: random changes of color."""

from dataclasses import dataclass
from typing import NamedTuple, Optional

import cv2
import numpy as np

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.color import ChannelOrder, HueShift, LevelMap, Saturation
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import Context, Transform, lazy_image

_LEVELS = np.arange(256, dtype=np.float64)
_CHANGES = {"brightness": LevelMap, "saturation": Saturation, "hue": HueShift}


@register
@dataclass(eq=False)
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

    hue: kinds.Draw = (-18, 18, 0.5)
    saturation: kinds.Draw = (0.5, 1.5, 0.5)
    contrast: kinds.Draw = (0.5, 1.5, 0.5)
    brightness: kinds.Draw = (0.5, 1.5, 0.5)
    random_apply: bool = True
    count: int = 4
    random_channel: bool = False
    prob: kinds.Probability = 1.0

    def __post_init__(self) -> None:
        names = ("brightness", "contrast", "saturation", "hue")
        self.ranges = {name: getattr(self, name) for name in names}

    def apply(self, sample: Sample, context: Context) -> Sample:
        rng = context.rng
        if rng.random() >= self.prob:
            return sample
        image = lazy_image(sample)
        for name in self._order(rng):
            lower, upper, probability = self.ranges[name]
            if rng.random() >= probability:
                continue
            amount = rng.uniform(lower, upper)
            if name == "contrast":
                image = image.contrast(amount)
            else:
                image = image.recolor(_CHANGES[name](amount))
        if self.random_channel and rng.random() < 0.5:
            first, second, third = rng.permutation(3).tolist()
            image = image.recolor(ChannelOrder((first, second, third)))
        return {**sample, "image": image}

    def _order(self, rng: np.random.Generator) -> list[str]:
        names = list(self.ranges)
        if self.random_apply:
            return [names[index] for index in rng.permutation(len(names))[: self.count]]
        if rng.random() < 0.5:
            return ["brightness", "saturation", "hue", "contrast"]
        return names


class HsvChange(NamedTuple):
    """v becomes factor * v + shift in OpenCV's 8-bit HSV (hue 0..179, saturation and value 0..255),
    the hue on its circle, the others clipped, fractions cut off.
    """

    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    factor: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def table(self) -> np.ndarray:
        """uint8 [1, 256, 3] for hue, saturation, value."""
        values = np.floor(_LEVELS[:, None] * self.factor + self.shift)
        values[:, 0] %= 180
        return np.minimum(np.maximum(values, 0), 255).astype(np.uint8)[None]

    def apply(self, image: np.ndarray) -> None:
        """In place on uint8 RGB [H, W, 3]."""
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        cv2.LUT(hsv, self.table(), dst=hsv)
        cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=image)


@register
@dataclass(eq=False)
class AugmentHSV(Transform):
    """Change hue, saturation and value at random.

    With gains, a number from U(-gain, gain) is added to each of the three, each with probability
    1/2; the way to 8-bit HSV and back rounds a little even when nothing is added. Without gains,
    saturation and value are multiplied by factors from U(1 - fraction, 1 + fraction).

    Args:
        is_bgr: PaddleDetection's word for the channel order of the image. Images are RGB here; true
            turns the hue the other way round, as reading them as BGR would.
        hgain, sgain, vgain: hue in steps of two degrees, the others in levels; all three or none.
    """

    keeps_size = True

    fraction: kinds.Probability = 0.5
    is_bgr: bool = True
    hgain: Optional[float] = None
    sgain: Optional[float] = None
    vgain: Optional[float] = None

    def __post_init__(self) -> None:
        gains = (self.hgain, self.sgain, self.vgain)
        if gains.count(None) in (1, 2):
            raise ConfigError(
                f"hgain, sgain and vgain: found {list(gains)}, allowed: three numbers or none"
            )
        self.gains = None if self.hgain is None else np.array(gains, np.float64)

    def apply(self, sample: Sample, context: Context) -> Sample:
        rng = context.rng
        if self.gains is None:
            saturation, value = rng.uniform(1 - self.fraction, 1 + self.fraction, 2).tolist()
            change = HsvChange(factor=(1.0, saturation, value))
        else:
            shift = rng.uniform(-1, 1, 3) * self.gains * rng.integers(0, 2, 3)
            hue, saturation, value = shift.tolist()
            change = HsvChange(shift=(-hue if self.is_bgr else hue, saturation, value))
        return {**sample, "image": lazy_image(sample).recolor(change)}
