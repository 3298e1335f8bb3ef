"""PhotometricDistort: SSD's random changes of color."""

from dataclasses import dataclass

from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.color import LevelMap
from ppdet_lite.data.transforms.distort import HsvChange
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import Context, Transform, lazy_image


@register
@dataclass(eq=False)
class PhotometricDistort(Transform):
    """Change brightness, contrast, hue and saturation at random, in this order.

    Args:
        brightness: [lower, upper, probability] of a number of levels that is added.
        contrast: of a factor on all levels.
        hue: of a shift on OpenCV's circle of 180 steps, drawn as a whole number.
        saturation: of a factor.
    """

    keeps_size = True

    brightness: kinds.Draw = (-32, 32, 0.5)
    contrast: kinds.Draw = (0.5, 1.5, 0.5)
    hue: kinds.Draw = (-18, 18, 0.5)
    saturation: kinds.Draw = (0.5, 1.5, 0.5)

    def apply(self, sample: Sample, context: Context) -> Sample:
        rng, image = context.rng, lazy_image(sample)

        def draw(interval: kinds.Draw, otherwise: float) -> float:
            lower, upper, probability = interval
            return rng.uniform(lower, upper) if rng.random() < probability else otherwise

        added, factor = draw(self.brightness, 0.0), draw(self.contrast, 1.0)
        if added:
            image = image.recolor(LevelMap(1.0, added))
        if factor != 1:
            image = image.recolor(LevelMap(factor))
        hue, saturation = float(round(draw(self.hue, 0.0))), draw(self.saturation, 1.0)
        if hue or saturation != 1:
            change = HsvChange(shift=(hue, 0.0, 0.0), factor=(1.0, saturation, 1.0))
            image = image.recolor(change)
        return {**sample, "image": image}
