"""An image that is described by numbers until the moment its pixels are needed.

Mixup, distortion, expansion, crop, flip and resize are axis-aligned: what they do to an image can
be written down as rectangles, a blend weight, a fill color, a flip and a list of color changes.
`render` decodes the sources, moves their pixels to the final size and blends and recolors where
that is least work. All rectangles before the final resize are whole pixels, so a single source that
covers the canvas renders exactly like `cv2.resize` of the cropped image.

A `LazyImage` never changes: each operation returns a new one, and sources are only read. What no
rectangle describes (a mosaic, erased parts) is a `Painter`: it works on the finished pixels.
"""

from typing import Any, NamedTuple, Optional, Protocol, Sequence, Union

import cv2
import numpy as np

from ppdet_lite.data.pixels.clock import Clock, no_clock
from ppdet_lite.data.pixels.color import ColorChange, LevelMap, apply_changes, mean_gray
from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.pixels.image_ops import FillValue, fill_to_uint8
from ppdet_lite.data.pixels.pixel_source import (
    REDUCTIONS,
    ArrayPixels,
    DecodedOnce,
    PixelSource,
    largest_reduction,
)
from ppdet_lite.data.pixels.placement import BLEND_COST, Layer, Rect, blend
from ppdet_lite.data.pixels.resampling import resize_cost, resize_exact

# The mean gray that contrast needs is taken from a thumbnail of at least this many samples per
# axis (or the whole image where it is smaller).
_THUMBNAIL_SIDE = 120


class Painter(Protocol):
    """Draws on an image of any size: its own numbers are shares of the sides."""

    def draw(self, out: np.ndarray) -> None:
        """Changes uint8 [H, W, 3] in place."""
        ...


class LazyImage:
    """See the module. The canvas is [height, width]; outside `content` it shows `fill`, inside it
    the weighted sum of the layers over black. `flipped` mirrors the whole canvas left-right;
    rectangles are kept as if it were not mirrored.

    Args:
        source: where the pixels come from; uint8 [H, W, 3] RGB or a source of pixels.
        clock: told of the steps `render` and `thumbnail`, of this image and of those made from it.
    """

    def __init__(self, source: Union[np.ndarray, PixelSource], clock: Clock = no_clock):
        self.clock = clock
        pixels: PixelSource = ArrayPixels(source) if isinstance(source, np.ndarray) else source
        self.height, self.width = pixels.size_hw
        self.content = whole = Rect(0, 0, self.width, self.height)
        self.layers: tuple[Layer, ...] = (Layer(pixels, whole, whole, 1.0),)
        self.fill = np.zeros(3, np.uint8)
        self.unfilled_changes = 0  # color changes that came before the fill and do not touch it
        self.changes: tuple[Union[ColorChange, Contrast], ...] = ()
        self.flipped = False
        self.target: Optional[SizeHW] = None  # (height, width) after the last resize
        self.interp = 1
        self.painters: tuple[Painter, ...] = ()  # one after the other, once all else is done

    @classmethod
    def canvas(cls, size_hw: SizeHW, clock: Clock = no_clock) -> "LazyImage":
        """Of (height, width) `size_hw`, for painters that cover all of it."""
        dot = cls(np.zeros((1, 1, 3), np.uint8), clock)
        height, width = size_hw
        return dot._with(height=height, width=width, content=Rect(0, 0, width, height), layers=())

    @property
    def size_hw(self) -> SizeHW:
        """(height, width) of the image that `render` makes."""
        return self.target or (self.height, self.width)

    @property
    def has_fill(self) -> bool:
        """True if the fill color shows anywhere."""
        return self.content != Rect(0, 0, self.width, self.height)

    def _with(self, **changed: Any) -> "LazyImage":
        new = object.__new__(LazyImage)
        new.__dict__ = {**self.__dict__, **changed}
        return new

    def settled(self) -> "LazyImage":
        """The same image with its pixels rendered: one layer, nothing pending."""
        return LazyImage(self.render(), self.clock)

    def _unpainted(self) -> "LazyImage":
        """This image; settled where painters would not know what is done to it now."""
        return self.settled() if self.painters else self

    # geometry ------------------------------------------------------------------------------------
    def crop(self, left: int, top: int, width: int, height: int) -> "LazyImage":
        """The window at (left, top) of the image as it is seen now."""
        if self.target is not None or self.painters:
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
            layers=tuple(layer.moved(-left, -top) for layer in layers if layer.place.area),
        )

    def expand(self, width: int, height: int, left: int, top: int, fill: FillValue) -> "LazyImage":
        """The image at (left, top) of a larger canvas of one color."""
        color = fill_to_uint8(fill)
        recolored = len(self.changes) > self.unfilled_changes
        two_fills = self.has_fill and (recolored or not np.array_equal(color, self.fill))
        if self.target is not None or self.painters or two_fills:
            return self.settled().expand(width, height, left, top, fill)
        if left < 0 or top < 0 or left + self.width > width or top + self.height > height:
            raise ValueError(f"{self.width}x{self.height} does not fit into {width}x{height}")
        if self.flipped:
            left = width - left - self.width
        return self._with(
            width=width,
            height=height,
            fill=color,
            unfilled_changes=len(self.changes),
            content=self.content.moved(left, top),
            layers=tuple(layer.moved(left, top) for layer in self.layers),
        )

    def flip(self) -> "LazyImage":
        """Mirrored left-right."""
        image = self._unpainted()
        return image._with(flipped=not image.flipped)

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
            width=width, height=height, layers=tuple(layers), content=Rect(0, 0, width, height)
        )

    def _only_layers(self) -> bool:
        """True if nothing but weighted layers describes the image, so that it can be mixed."""
        is_moved = self.target or self.flipped or self.changes or self.painters
        return not (is_moved or self.has_fill)

    # color --------------------------------------------------------------------------------------
    def recolor(self, change: Union[ColorChange, "Contrast"]) -> "LazyImage":
        """With one more color change, the fill included."""
        image = self._unpainted()
        return image._with(changes=(*image.changes, change))

    def contrast(self, factor: float) -> "LazyImage":
        """Blended with its mean gray; the mean is that of the whole canvas as it is now."""
        image = self._unpainted()
        return image.recolor(Contrast(factor, image))

    def paint(self, painter: Painter) -> "LazyImage":
        """With one more painter."""
        return self._with(painters=(*self.painters, painter))

    def thumbnail(self, decoded: Optional[DecodedOnce] = None) -> np.ndarray:
        """The canvas on a coarse grid, color changes applied, uint8 [h, w, 3]."""
        step = max(min(self.width, self.height) // _THUMBNAIL_SIDE, 1)
        small = (max(self.height // step, 1), max(self.width // step, 1))
        # Its mean is that of the pixels, however small they are.
        with self.clock("thumbnail"):
            return self._with(target=small, interp=0)._rendered(None, decoded, REDUCTIONS[0])

    # pixels --------------------------------------------------------------------------------------
    def pixels(self) -> np.ndarray:
        """The pixels to read only: those of the source while nothing has been decided about the
        image, otherwise rendered.
        """
        first, whole = self.layers[0], Rect(0, 0, self.width, self.height)
        untouched = len(self.layers) == 1 and self._only_layers() and first.weight == 1.0
        if untouched and first.part == whole and first.source.size_hw == self.size_hw:
            return first.source.pixels()
        return self.render()

    def pixels_before_changes(self, shown_hw: SizeHW) -> tuple[np.ndarray, Sequence[ColorChange]]:
        """The pixels without their color changes, and these; for callers that move the pixels in
        their own way. What is to be shown at `shown_hw` may be decoded at a fraction of its size.
        """
        plain = self._with(changes=(), unfilled_changes=0)
        if not plain._only_layers() or len(self.layers) != 1 or self.layers[0].weight != 1.0:
            return self.render(), ()
        layer, decoded = self.layers[0], DecodedOnce()
        pixels, reduction = decoded.get(layer.source, largest_reduction(self.size_hw, shown_hw))
        part = layer.part.reduced(reduction, (pixels.shape[0], pixels.shape[1]))
        return part.window(pixels), self._resolved(decoded)

    def _resolved(self, decoded: DecodedOnce) -> list[ColorChange]:
        return [
            change.level_map(decoded) if isinstance(change, Contrast) else change
            for change in self.changes
        ]

    def render(self, out: Optional[np.ndarray] = None) -> np.ndarray:
        """The pixels, uint8 [height, width, 3] of `size_hw`, written into `out` when given.

        Raises:
            UndecodableError: a file that turns out to be damaged only now.
        """
        with self.clock("render"):
            return self._rendered(out)

    def _rendered(
        self,
        out: Optional[np.ndarray] = None,
        decoded: Optional[DecodedOnce] = None,
        reduction: Optional[int] = None,
    ) -> np.ndarray:
        """See `render`; `decoded` are sources that are known already. Pixels of the sources at
        1/`reduction` of their size are enough; without it `largest_reduction` decides.
        """
        if out is None:
            out = np.empty((*self.size_hw, 3), np.uint8)
        elif out.shape != (*self.size_hw, 3) or out.dtype != np.uint8:
            raise ValueError(f"out is {out.dtype} {list(out.shape)}, need {[*self.size_hw, 3]}")
        decoded = DecodedOnce() if decoded is None else decoded
        if reduction is None:
            reduction = largest_reduction((self.height, self.width), self.size_hw)
        sources = [decoded.get(layer.source, reduction) for layer in self.layers]
        changes = self._resolved(decoded)
        if self.has_fill:
            color = self.fill.reshape(1, 1, 3).copy()
            apply_changes(color, changes[self.unfilled_changes :])
            # numpy takes 40 times as long to repeat three bytes
            cv2.rectangle(out, (0, 0), out.shape[1::-1], color.ravel().tolist(), cv2.FILLED)
        content = self._scaled(self.content)
        inside = content.window(out)
        if inside.size and self.layers:
            self._draw(inside, content, sources, changes)
        if self.flipped:
            cv2.flip(out, 1, dst=out)
        for painter in self.painters:
            painter.draw(out)
        return out

    def _scaled(self, rect: Rect) -> Rect:
        """A canvas rectangle in the pixels of the result."""
        height, width = self.size_hw
        return rect.scaled(width / self.width, height / self.height)

    def _draw(
        self,
        out: np.ndarray,
        content: Rect,
        sources: Sequence[tuple[np.ndarray, int]],
        changes: Sequence[ColorChange],
    ) -> None:
        """Write the recolored layers to `out`, the window `content` of the result.

        Layers are blended before or after the resize, wherever that is less work: before it there
        is one image to resize instead of one per layer. Colors are changed where there are fewer
        pixels.
        """
        parts = [
            layer.part.reduced(reduction, (pixels.shape[0], pixels.shape[1])).window(pixels)
            for layer, (pixels, reduction) in zip(self.layers, sources)
        ]
        plain = not changes and len(parts) == 1 and self.layers[0].weight == 1.0
        full_size = all(reduction == 1 for _, reduction in sources)
        places = [self._scaled(layer.place) for layer in self.layers]
        if full_size and not plain and self._blends_first(places, content):
            canvas_hw = (self.content.height, self.content.width)
            canvas = out if canvas_hw == out.shape[:2] else np.empty((*canvas_hw, 3), np.uint8)
            self._compose(canvas, parts, [layer.place for layer in self.layers], self.content)
            recolors_first = canvas is not out and self.content.area <= content.area
            if recolors_first:
                apply_changes(canvas, changes)
            if canvas is not out:
                resize_exact(canvas, (out.shape[0], out.shape[1]), self.interp, out)
            if not recolors_first:
                apply_changes(out, changes)
        else:
            self._compose(out, parts, places, content)
            apply_changes(out, changes)

    def _blends_first(self, places: Sequence[Rect], content: Rect) -> bool:
        """True if blending at the size of the canvas and one resize to `content` take less time
        than resizing every layer to its rectangle of `places` and blending there.
        """
        before, after = self.content.area, content.area
        one_resize = resize_cost(before, after, self.interp)
        resizes = sum(
            resize_cost(layer.place.area, place.area, self.interp)
            for layer, place in zip(self.layers, places)
        )
        return BLEND_COST * before + one_resize <= resizes + BLEND_COST * after

    def _compose(
        self, out: np.ndarray, parts: Sequence[np.ndarray], places: Sequence[Rect], origin: Rect
    ) -> None:
        """Resize every part to its place and write their sum to `out`; `origin` is the rectangle
        that `out` shows, in the coordinates of `places`.
        """
        covers = Rect(0, 0, out.shape[1], out.shape[0])
        pieces = []
        for layer, part, place in zip(self.layers, parts, places):
            place = place.moved(-origin.left, -origin.top)
            if not place.area:
                continue
            if len(parts) == 1 and place == covers and layer.weight == 1.0:
                resize_exact(part, (place.height, place.width), self.interp, out)
                break
            pixels = resize_exact(part, (place.height, place.width), self.interp)
            pieces.append((pixels, place, layer.weight))
        else:
            blend(out, pieces)


class Contrast(NamedTuple):
    """Blends with the mean gray of `canvas`; a `LevelMap` once there are pixels."""

    factor: float
    canvas: LazyImage

    def level_map(self, decoded: DecodedOnce) -> LevelMap:
        mean = mean_gray(self.canvas.thumbnail(decoded))
        return LevelMap(self.factor, (1 - self.factor) * mean)
