"""DarknetMosaic: four crops in one image, by the tile rule of darknet."""

from dataclasses import dataclass

import numpy as np

from ppdet_lite.core.annotations import Count
from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.pixels.pasted_crop import PastedCrop
from ppdet_lite.data.transforms.darknet.iteration import Draw, iteration, shared_rng
from ppdet_lite.data.transforms.darknet.jitter_crop import (
    Crop,
    JitterCrop,
    crop_boxes,
    shuffled_boxes,
    with_boxes,
)
from ppdet_lite.data.transforms.darknet.tiles import (
    border_shift,
    pushed_outside,
    tile_boxes,
    tile_offset,
    tile_window,
)
from ppdet_lite.data.transforms.objects import Sample, joined_objects
from ppdet_lite.data.transforms.transform import Context, lazy_image
from ppdet_lite.ops.boxes_np import clip_boxes


@register
@dataclass(eq=False)
class DarknetMosaic(JitterCrop):
    """Four images around a random point (YOLOv4, arXiv:2004.10934, section 3.3); a `JitterCrop` of
    one image in iterations without mosaics, and from `mosaic_epoch` on.

    Each source is cropped as by `JitterCrop` and brought to the network's size; a tile shows the
    corner of it that fits, moved by the border that the crop added. For half of the sources all
    borders lie at the sides away from the center. Nothing is drawn before the size of the batch is
    known; then each tile is one warp. With `letterbox`, which darknet refuses together with
    mosaics, the borders of the shape count as borders that were added.

    Args:
        prob: share of the iterations with mosaics; all their images are some.
        mosaic_bound: cut boxes to their tile; otherwise they may reach into another one.
        min_offset: the center keeps this share of the sides away from the edges.
        accumulate_steps: batches of an iteration.
    """

    __shared__ = ("accumulate_steps",)

    needs_partner = True
    switched_by = "mosaic_epoch"

    prob: kinds.Probability = 0.5
    mosaic_bound: bool = False
    min_offset: kinds.Jitter = 0.2
    accumulate_steps: Count = 1

    def apply(self, sample: Sample, context: Context) -> Sample:
        number = iteration(context, self.accumulate_steps)
        is_on = shared_rng(context, Draw.MOSAIC, number).random() < self.prob
        if context.partner is None or not is_on:
            return super().apply(sample, context)
        draw_partner, rng, (net_h, net_w) = context.partner, context.rng, self.net_hw
        low, high = self.min_offset, 1 - self.min_offset
        cut_xy = (
            int(rng.integers(int(net_w * low), int(net_w * high) + 1)),
            int(rng.integers(int(net_h * low), int(net_h * high) + 1)),
        )
        canvas = LazyImage.canvas(self.net_hw, context.clock)
        parts = []
        for tile in range(4):
            source = sample if tile == 0 else draw_partner()
            part, painter = self._tile(source, tile, cut_xy, rng)
            parts.append(part)
            canvas = canvas.paint(painter)
        return self.with_image({**sample, **joined_objects(parts)}, canvas)

    def _tile(
        self, sample: Sample, tile: int, cut_xy: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Sample, PastedCrop]:
        """The source with its boxes on the mosaic, and what draws its tile."""
        image = lazy_image(sample)
        crop: Crop = self.draw_crop(image.size_hw, rng)
        if rng.random() < 0.5:
            crop = pushed_outside(crop, tile)
        shift = border_shift(crop, image.size_hw, cut_xy, self.net_hw)
        boxes_xyxy, order = shuffled_boxes(sample, rng)
        source = crop_boxes(boxes_xyxy, image.size_hw, crop, self.net_hw)
        found = tile_boxes(source.boxes_xyxy, tile, shift, cut_xy, self.net_hw, self.mosaic_bound)
        sides = np.array(self.net_hw[::-1], np.float64)
        left, top, right, bottom = tile_window(tile, cut_xy, self.net_hw) / np.tile(sides, 2)
        shift_x, shift_y = tile_offset(tile, shift, cut_xy, self.net_hw) / sides
        painter = PastedCrop(
            image,
            crop.xywh(image.size_hw),
            crop.flip,
            (float(left), float(top), float(right), float(bottom)),
            (float(shift_x), float(shift_y)),
        )
        # darknet leaves fractions of a pixel outside
        inside = clip_boxes(found.boxes_xyxy, *self.net_hw)
        return with_boxes(sample, inside, order[source.kept[found.kept]]), painter
