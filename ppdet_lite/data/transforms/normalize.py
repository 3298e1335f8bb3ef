"""NormalizeImage, ToBGR and Permute: from uint8 pixels to the numbers the network takes.

In a reader NormalizeImage and Permute are only settings: the finished batch is normalized and
brought to [B, 3, H, W] in one pass over its uint8 pixels, or on a GPU. They act on an array at once
when they are called by hand, or when a transform that derives from nothing follows them in the
list.
"""

from dataclasses import dataclass
from typing import Any, Literal, Sequence

import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.color import ReversedChannels
from ppdet_lite.data.pixels.image_ops import IMAGENET_MEAN, IMAGENET_STD, Normalizer
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import Context, Transform, lazy_image


def _pixels(sample: Sample) -> np.ndarray:
    image: Any = sample["image"]
    return image.render() if isinstance(image, LazyImage) else image


@register
@dataclass(eq=False)
class NormalizeImage(Transform):
    """(pixel / 255 - mean) / std per channel.

    Args:
        mean, std: R, G, B, for pixels in 0..1 when `is_scale`, in 0..255 otherwise.
        is_scale: divide by 255 first.
        norm_type: "mean_std", or "none" to leave out mean and std.
    """

    keeps_size = True

    mean: kinds.Color = IMAGENET_MEAN
    std: kinds.Divisor = IMAGENET_STD
    is_scale: bool = True
    norm_type: Literal["mean_std", "none"] = "mean_std"

    def __post_init__(self) -> None:
        self.settings: dict[str, Any] = {
            "mean": [float(value) for value in self.mean],
            "std": [float(value) for value in self.std],
            "is_scale": self.is_scale,
            "norm_type": self.norm_type,
        }
        self.normalizer: Normalizer = Normalizer(**self.settings)

    def apply(self, sample: Sample, context: Context) -> Sample:
        """uint8 [H, W, 3] -> float32 [H, W, 3]."""
        return {**sample, "image": self.normalizer(_pixels(sample)).transpose(1, 2, 0)}

    def defers_to_batch(self, later: Sequence[Transform]) -> bool:
        return True

    def export_step(self) -> dict[str, Any]:
        return {"type": "NormalizeImage", **self.settings}


@register
class ToBGR(Transform):
    """Channels in the order B, G, R, for networks that were trained so; after all other changes of
    color, which take images as R, G, B.
    """

    keeps_size = True

    def apply(self, sample: Sample, context: Context) -> Sample:
        return {**sample, "image": lazy_image(sample).recolor(ReversedChannels())}

    def export_step(self) -> dict[str, Any]:
        return {"type": "ToBGR"}


@register
class Permute(Transform):
    """[H, W, 3] -> [3, H, W]."""

    keeps_size = True
    channels_first = True

    def apply(self, sample: Sample, context: Context) -> Sample:
        image = np.ascontiguousarray(_pixels(sample).transpose(2, 0, 1))
        return {**sample, "image": image}

    def defers_to_batch(self, later: Sequence[Transform]) -> bool:
        return True

    def export_step(self) -> dict[str, Any]:
        return {"type": "Permute"}
