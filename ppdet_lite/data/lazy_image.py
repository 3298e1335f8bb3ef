"""A picture that is described by numbers until the moment its pixels are needed.

Mixup, distortion, expansion, crop, flip and resize are axis-aligned: what they do to a picture can
be written down as rectangles, a blend weight, a fill colour, a flip and a list of colour changes.
`LazyImage` holds these numbers; `render` moves every source once, from its decoded uint8 pixels
straight to the final size. All rectangles before the final resize are whole pixels, so a single
source that covers the canvas renders exactly like `cv2.resize` of the cropped picture.

A `LazyImage` never changes: each operation returns a new one, and the decoded sources are only
read, so a source may be shared between samples.
"""

from typing import NamedTuple, Optional

import cv2
import numpy as np

from ppdet_lite.data.colour import TRUNCATE, LevelMap, apply_changes, mean_gray
from ppdet_lite.data.image_ops import INTERPOLATIONS, fill_to_uint8

# The mean gray that contrast needs is taken from a thumbnail of at least this many samples per
# axis (or the whole picture where it is smaller).
_THUMBNAIL_SIDE = 120


class Rect(NamedTuple):
    """Whole-pixel rectangle; right and bottom lie outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return max(self.right - self.left, 0)

    @property
    def height(self) -> int:
        return max(self.bottom - self.top, 0)

    def moved(self, dx: int, dy: int) -> "Rect":
        return Rect(self.left + dx, self.top + dy, self.right + dx, self.bottom + dy)

    def cut(self, other: "Rect") -> "Rect":
        """The part of this rectangle inside `other`; empty ones have width or height 0."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        return Rect(
            left,
            top,
            max(min(self.right, other.right), left),
            max(min(self.bottom, other.bottom), top),
        )

    def window(self, array: np.ndarray) -> np.ndarray:
        return array[self.top : self.bottom, self.left : self.right]


class Layer(NamedTuple):
    """One decoded picture on the canvas.

    Attributes:
        source: uint8 [H, W, 3] RGB, never written to.
        part: the rectangle of the source that is used.
        place: where that part lies on the canvas, same size.
        weight: its share in the blend.
    """

    source: np.ndarray
    part: Rect
    place: Rect
    weight: float

    def cut(self, window: Rect) -> "Layer":
        place = self.place.cut(window)
        dx, dy = self.part.left - self.place.left, self.part.top - self.place.top
        return self._replace(part=place.moved(dx, dy), place=place)


class LazyImage:
    """See the module. The canvas is [height, width]; outside `content` it shows `fill`, inside it
    the weighted sum of the layers over black. `flipped` mirrors the whole canvas left-right;
    rectangles are kept as if it were not mirrored.
    """

    __slots__ = (
        "width",
        "height",
        "layers",
        "content",
        "fill",
        "changes",
        "flipped",
        "target",
        "interp",
    )

    def __init__(self, source: np.ndarray):
        """The picture `source`, uint8 [H, W, 3] RGB, as it is."""
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            raise ValueError(
                f"expected a uint8 picture [H, W, 3], got {source.dtype} {list(source.shape)}"
            )
        self.height, self.width = source.shape[:2]
        whole = Rect(0, 0, self.width, self.height)
        self.layers = (Layer(source, whole, whole, 1.0),)
        self.content = whole
        self.fill = np.zeros(3, np.uint8)
        self.changes = ()
        self.flipped = False
        self.target = None  # (height, width) after the last resize, None before it
        self.interp = 1

    @property
    def size_hw(self) -> "tuple[int, int]":
        """(height, width) of the picture that `render` makes."""
        return self.target or (self.height, self.width)

    @property
    def has_fill(self) -> bool:
        """Whether the fill colour shows anywhere."""
        return self.content != Rect(0, 0, self.width, self.height)

    def _with(self, **changed) -> "LazyImage":
        new = object.__new__(LazyImage)
        for name in LazyImage.__slots__:
            setattr(new, name, changed[name] if name in changed else getattr(self, name))
        return new

    def settled(self) -> "LazyImage":
        """The same picture with its pixels rendered: one layer, nothing pending."""
        return LazyImage(self.render())

    # geometry ------------------------------------------------------------------------------------
    def crop(self, left: int, top: int, width: int, height: int) -> "LazyImage":
        """The window at (left, top) of the picture as it is seen now."""
        if self.target is not None:
            return self.settled().crop(left, top, width, height)
        if width < 1 or height < 1 or min(left, top) < 0:
            raise ValueError(f"cannot crop {width}x{height} at ({left}, {top})")
        if left + width > self.width or top + height > self.height:
            raise ValueError(f"the crop leaves the canvas of {self.width}x{self.height}")
        if self.flipped:
            left = self.width - left - width
        window = Rect(left, top, left + width, top + height)
        layers = (layer.cut(window) for layer in self.layers)
        return self._with(
            width=width,
            height=height,
            content=self.content.cut(window).moved(-left, -top),
            layers=tuple(
                layer._replace(place=layer.place.moved(-left, -top))
                for layer in layers
                if layer.place.width and layer.place.height
            ),
        )

    def expand(self, width: int, height: int, left: int, top: int, fill_value) -> "LazyImage":
        """The picture at (left, top) of a larger canvas of one colour (a number or R, G, B)."""
        fill = fill_to_uint8(fill_value)
        two_fills = self.has_fill and not np.array_equal(fill, self.fill)
        if self.target is not None or two_fills:
            return self.settled().expand(width, height, left, top, fill_value)
        if left < 0 or top < 0 or left + self.width > width or top + self.height > height:
            raise ValueError(f"{self.width}x{self.height} does not fit into {width}x{height}")
        if self.flipped:
            left = width - left - self.width
        return self._with(
            width=width,
            height=height,
            fill=fill,
            content=self.content.moved(left, top),
            layers=tuple(
                layer._replace(place=layer.place.moved(left, top)) for layer in self.layers
            ),
        )

    def flip(self) -> "LazyImage":
        """Mirrored left-right."""
        return self._with(flipped=not self.flipped)

    def resize(self, height: int, width: int, interp: int) -> "LazyImage":
        """At another size; `interp` as in configs."""
        image = self if self.target is None else self.settled()
        return image._with(target=(int(height), int(width)), interp=interp)

    def mix(self, other: "LazyImage", factor: float) -> "LazyImage":
        """factor * this + (1 - factor) * other, both in the top-left corner, black elsewhere."""
        first, second = (
            image if image._only_layers() else image.settled() for image in (self, other)
        )
        width, height = max(first.width, second.width), max(first.height, second.height)
        layers = [layer._replace(weight=layer.weight * factor) for layer in first.layers]
        layers += [layer._replace(weight=layer.weight * (1 - factor)) for layer in second.layers]
        return first._with(
            width=width,
            height=height,
            layers=tuple(layers),
            content=Rect(0, 0, width, height),
        )

    def _only_layers(self) -> bool:
        """Whether nothing but weighted layers describes the picture, so that it can be mixed."""
        return not (self.target or self.flipped or self.changes or self.has_fill)

    # colour --------------------------------------------------------------------------------------
    def recolour(self, change) -> "LazyImage":
        """With one more colour change (see `ppdet_lite.data.colour`), the fill included."""
        fill = self.fill.copy()
        apply_changes(fill.reshape(1, 1, 3), (change,))
        return self._with(changes=(*self.changes, change), fill=fill)

    def contrast(self, factor: float) -> "LazyImage":
        """Blended with its mean gray; the mean is that of the whole canvas as it is now."""
        mean = mean_gray(self.thumbnail())
        return self.recolour(LevelMap(factor, (1 - factor) * mean))

    def thumbnail(self) -> np.ndarray:
        """The canvas sampled on a coarse grid, colour changes applied, uint8 [h, w, 3]."""
        step = max(min(self.width, self.height) // _THUMBNAIL_SIDE, 1)
        small = (max(self.height // step, 1), max(self.width // step, 1))
        return self._with(target=small, interp=0).render()

    # pixels --------------------------------------------------------------------------------------
    def pixels(self) -> np.ndarray:
        """The pixels to read only: the decoded source itself while nothing has been decided about
        the picture, otherwise rendered.
        """
        first, whole = self.layers[0], Rect(0, 0, self.width, self.height)
        untouched = len(self.layers) == 1 and self._only_layers() and first.weight == 1.0
        if untouched and first.part == whole and first.source.shape[:2] == self.size_hw:
            return first.source
        return self.render()

    def render(self, out: Optional[np.ndarray] = None) -> np.ndarray:
        """The pixels, uint8 [height, width, 3] of `size_hw`, written into `out` when given."""
        if out is None:
            out = np.empty((*self.size_hw, 3), np.uint8)
        elif out.shape != (*self.size_hw, 3) or out.dtype != np.uint8:
            raise ValueError(f"out is {out.dtype} {list(out.shape)}, need {[*self.size_hw, 3]}")
        content = self._scaled(self.content)
        if self.has_fill:
            out[:] = self.fill
        inside = content.window(out)
        if inside.size:
            self._blend(inside, content)
            apply_changes(inside, self.changes)
        if self.flipped:
            cv2.flip(out, 1, dst=out)
        return out

    def _scaled(self, rect: Rect) -> Rect:
        """A canvas rectangle in the pixels of the result, edges rounded to whole pixels."""
        height, width = self.size_hw
        fx, fy = width / self.width, height / self.height
        edges = (rect.left * fx, rect.top * fy, rect.right * fx, rect.bottom * fy)
        return Rect(*(int(edge + 0.5) for edge in edges))

    def _blend(self, out: np.ndarray, content: Rect) -> None:
        """Write the weighted sum of the resized layers to `out`, the window `content`."""
        places = [self._scaled(la.place).moved(-content.left, -content.top) for la in self.layers]
        drawn = [
            (layer, place)
            for layer, place in zip(self.layers, places)
            if place.width and place.height
        ]
        covers = Rect(0, 0, content.width, content.height)
        if len(drawn) == 1 and drawn[0][1] == covers and drawn[0][0].weight == 1.0:
            self._resample(drawn[0][0], out)
            return
        parts = []
        for layer, place in drawn:
            pixels = np.empty((place.height, place.width, 3), np.uint8)
            self._resample(layer, pixels)
            parts.append((pixels, place, layer.weight))
        for cell in _cells(covers, [place for _, place, _ in parts]):
            inside = [
                (cell.moved(-place.left, -place.top).window(pixels), weight)
                for pixels, place, weight in parts
                if cell.cut(place) == cell
            ]
            _sum_into(cell.window(out), inside)

    def _resample(self, layer: Layer, out: np.ndarray) -> None:
        """One source at its final size."""
        part = layer.part.window(layer.source)
        height, width = out.shape[:2]
        if part.shape[:2] == (height, width):
            out[:] = part
            return
        result = cv2.resize(
            part, (width, height), dst=out, interpolation=INTERPOLATIONS[self.interp]
        )
        if not np.shares_memory(result, out):  # OpenCV made an array of its own
            out[:] = result


def _cells(area: Rect, rects) -> "list[Rect]":
    """`area` cut along the edges of `rects`, so that each rectangle covers whole cells."""
    xs = sorted({area.left, area.right, *(x for r in rects for x in (r.left, r.right))})
    ys = sorted({area.top, area.bottom, *(y for r in rects for y in (r.top, r.bottom))})
    return [
        Rect(left, top, right, bottom)
        for top, bottom in zip(ys[:-1], ys[1:])
        for left, right in zip(xs[:-1], xs[1:])
    ]


def _sum_into(out: np.ndarray, parts) -> None:
    """out = sum of weight * pixels, fractions cut off; black without parts."""
    if not parts:
        out[:] = 0
    elif len(parts) == 1:
        pixels, weight = parts[0]
        cv2.LUT(pixels, LevelMap(weight).table(), dst=out)
    elif len(parts) == 2:
        (first, weight_a), (second, weight_b) = parts
        cv2.addWeighted(first, weight_a, second, weight_b, TRUNCATE, dst=out)
    else:
        total = sum(pixels.astype(np.float32) * weight for pixels, weight in parts)
        out[:] = np.clip(total + 1e-3, 0, 255).astype(np.uint8)
