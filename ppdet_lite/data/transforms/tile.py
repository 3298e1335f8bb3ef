"""RandomTile: a tile of a large image, as detection in tiles sees it."""

from dataclasses import dataclass

import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.transforms.objects import Sample, moved_objects, select_objects
from ppdet_lite.data.transforms.transform import CORNERS, Context, Transform, lazy_image
from ppdet_lite.ops.boxes_np import clip_boxes, coverage_matrix


@register
@dataclass(eq=False)
class RandomTile(Transform):
    """Cut a tile of a fixed size out of an image that is larger, so that objects have the size at
    which `--slice_infer` sees them. Smaller images stay whole.

    Objects of which too little lies in the tile are dropped, the boxes of others are cut to it. A
    tile may be drawn around an object, since most tiles of aerial photos are empty.

    Args:
        size: [height, width] of a tile in pixels, or one number: that of `--slice_size`.
        prob: share of the images that are cut; the others stay whole, as `--slice_infer` sees
            them, too.
        min_visible: least share of an object that lies in the tile.
        object_prob: share of the tiles that are drawn around an object of the image.
    """

    takes_boxes = CORNERS

    size: kinds.Size = (640, 640)
    prob: kinds.Probability = 0.8
    min_visible: kinds.Probability = 0.3
    object_prob: kinds.Probability = 0.7

    def __post_init__(self) -> None:
        self.tile_hw = kinds.height_width(self.size)

    def apply(self, sample: Sample, context: Context) -> Sample:
        rng = context.rng
        image = lazy_image(sample)
        height, width = (min(side, own) for side, own in zip(self.tile_hw, image.size_hw))
        if (height, width) == image.size_hw or rng.random() >= self.prob:
            return sample
        boxes_xyxy = sample.get("gt_bbox", np.zeros((0, 4), np.float32))
        free_hw = image.size_hw[0] - height, image.size_hw[1] - width
        top, left = (int(rng.integers(0, free + 1)) for free in free_hw)
        if len(boxes_xyxy) and rng.random() < self.object_prob:
            x1, y1, x2, y2 = boxes_xyxy[rng.integers(len(boxes_xyxy))]
            top = _start_around(rng, y1, y2, height, free_hw[0])
            left = _start_around(rng, x1, x2, width, free_hw[1])
        tile = np.array([[left, top, left + width, top + height]], np.float64)
        shares = coverage_matrix(boxes_xyxy.astype(np.float64), tile)[:, 0]
        cut = {**sample, "image": image.crop(left, top, width, height)}
        if "gt_bbox" in sample:
            cut = select_objects(cut, np.flatnonzero((shares >= self.min_visible) & (shares > 0)))
            cut.update(moved_objects(cut, shift_xy=(-left, -top)))
            cut["gt_bbox"] = clip_boxes(cut["gt_bbox"], height, width)
        return cut


def _start_around(rng: np.random.Generator, low: float, high: float, side: int, free: int) -> int:
    """First pixel of a tile that holds the whole of an object along an axis, or, of a larger one,
    lies inside it.
    """
    first, last = sorted((int(np.ceil(high)) - side, int(np.floor(low))))
    first, last = max(first, 0), min(last, free)
    return int(rng.integers(first, last + 1)) if first <= last else min(max(first, 0), free)
