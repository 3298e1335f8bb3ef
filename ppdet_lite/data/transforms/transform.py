"""Base class of transforms, and the context they are called with."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple, Optional, Sequence, Union

import numpy as np

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.pixels.clock import Clock, no_clock
from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.pixels.image_ops import Normalizer
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.pixels.memory import RecycledArrays
from ppdet_lite.data.transforms.objects import Sample


@dataclass
class Context:
    """Context of a call.

    Attributes:
        make_rng: a generator, or a function that makes it.
        cache: the reader's `ImageCache`, None without.
        refused: file -> reason of images that turned out to be damaged when they were rendered.
        notes: counts of things worth telling once, for instance boxes that were left out.
        unreadable: file -> reason of images that were replaced.
        partner: returns another sample for mixing, at each call a new one drawn at random; None
            while mixing is off (see `Transform.switched_by`) and for a partner itself.
        seed: of the reader.
        batch, batches: number of the batch in its epoch, and how many that has.
    """

    make_rng: Union[np.random.Generator, Callable[[], np.random.Generator]]
    epoch: int = 0
    training: bool = False
    cache: Any = None
    refused: dict[str, str] = field(default_factory=dict)
    clock: Clock = no_clock
    notes: Counter[str] = field(default_factory=Counter)
    unreadable: dict[str, str] = field(default_factory=dict)
    partner: Optional[Callable[[], Sample]] = None
    seed: int = 0
    batch: int = 0
    batches: int = 1

    @property
    def rng(self) -> np.random.Generator:
        """The only source of randomness, seeded by (seed, epoch, sample or batch index)."""
        # Not a cached_property: its lock, up to Python 3.11 one for all contexts, may be held by
        # another thread when a worker is forked, and would never be free there.
        if not isinstance(self.make_rng, np.random.Generator):
            self.make_rng = self.make_rng()
        return self.make_rng


class ImageSizes(NamedTuple):
    """The sizes that images may have at one place of a transform list.

    Attributes:
        set_by: the argument that sets them, for messages: "Resize.target_size".
        keep_ratio: images have the full height or the full width of such a size, not always both.
    """

    all_hw: tuple[SizeHW, ...]
    set_by: str
    keep_ratio: bool = False

    @property
    def areas(self) -> list[int]:
        """Pixels of each size."""
        return [height * width for height, width in self.all_hw]


CORNERS = ("pixels", "corners")
"""`Transform.takes_boxes` of steps that move boxes."""


class Transform:
    """Base of the transforms that leave images unrendered.

    `apply` takes a sample, returns another and never writes into the arrays it was given. The
    image is a `LazyImage` (`lazy_image` makes one of an array).

    Attributes:
        whole_batch: takes and returns the list of the batch's samples.
        needs_partner: uses `Context.partner`.
        switched_by: the reader's setting (mixup_epoch, mosaic_epoch, cutmix_epoch) that says until
            which epoch partners are handed out; None: always.
        keeps_size: images keep their size; for other sizes override `output_sizes`.
        takes_boxes: the form of boxes that it works on, of "pixels" or "fractions", "corners" or
            "centers", "padded"; at first they are corners in pixels.
        makes_boxes: the part of the form that is another afterwards.
        pads_objects: all samples have the same number of objects afterwards.
        channels_first: brings normalized images from [H, W, 3] to [3, H, W].
        normalizer: turns uint8 pixels into the numbers the network takes, None without.
    """

    __checked__ = True

    whole_batch = False
    needs_partner = False
    switched_by: Optional[str] = None
    keeps_size = False
    takes_boxes: tuple[str, ...] = ()
    makes_boxes = ""
    pads_objects = False
    channels_first = False
    normalizer: Optional[Normalizer] = None

    @property
    def step_name(self) -> str:
        """For messages."""
        return type(self).__name__

    def __call__(self, sample: Any, context: Optional[Context] = None) -> Any:
        """Calls by hand need no context; they draw at random."""
        return self.apply(sample, context or Context(np.random.default_rng()))

    def apply(self, sample: Any, context: Context) -> Any:
        """The changed sample; with `whole_batch` a list of samples from a list."""
        raise NotImplementedError

    def output_sizes(self, sizes: Optional[ImageSizes]) -> Optional[ImageSizes]:
        """The sizes that this step makes of those that it gets (None: any); a ConfigError where it
        cannot work on them.
        """
        return sizes if self.keeps_size else None

    def defers_to_batch(self, later: Sequence["Transform"]) -> bool:
        """True if this step may wait for the finished batch, although the steps `later` come
        before. It does there what `normalizer`, `channels_first` and `finish` say.
        """
        return False

    def finish(self, batch: dict[str, Any], size_hw: SizeHW, memory: RecycledArrays) -> None:
        """Changes a finished batch (arrays with a leading batch axis, images of `size_hw`) in
        place: what a deferred step does besides its pixels. Large arrays come from `memory`.
        """

    def images_at(self, context: Context, count: int) -> int:
        """Number of images of the context's batch, of a reader with `count` in each; more are drawn
        at random. Asked of the steps for whole batches.
        """
        return count

    def export_step(self) -> Optional[dict[str, Any]]:
        """This step as an entry of `Preprocess` in infer_cfg.yml, its `type` included; None where
        deployment needs none; a ConfigError where it has no such step or not with these arguments.
        """
        known = "deployment knows Resize, Pad, NormalizeImage and Permute"
        raise ConfigError(f"{self.step_name} cannot be exported; {known}")


def lazy_image(sample: Sample) -> LazyImage:
    """The sample's image as a `LazyImage`; a ConfigError where nothing has been decoded yet."""
    image = sample.get("image")
    if isinstance(image, LazyImage):
        return image
    if isinstance(image, np.ndarray):
        return LazyImage(image)
    raise ConfigError("sample_transforms: Decode must come first; the sample has no image yet")


def image_size(sample: Sample) -> SizeHW:
    """(height, width) of the image, which may also be an array: [H, W, 3], or float [3, H, W]."""
    image = sample.get("image")
    if not isinstance(image, np.ndarray):
        return lazy_image(sample).size_hw
    channels_first = image.dtype != np.uint8 and image.shape[0] == 3 and image.shape[2] != 3
    height, width = image.shape[1:] if channels_first else image.shape[:2]
    return height, width
