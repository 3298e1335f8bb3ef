"""The distributions of the training augmentation against 1000 recorded runs of the reference.

Each recorded column is compared with our own 1000 runs by a two-sample Kolmogorov-Smirnov test at
the significance 1e-3, the seeds being fixed.
One difference is there by construction: the reference keeps the fill color 123.675, 116.28,
103.53 of RandomExpand as fractions, here it is rounded to whole levels, which moves a channel by
less than half a level on the filled part. `fill_rounding` takes exactly that difference out of the
channel means, and asserts the bound.
"""

import json

import cv2
import numpy as np
import pytest

from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.crop import RandomCrop
from ppdet_lite.data.transforms.distort import AugmentHSV, RandomDistort
from ppdet_lite.data.transforms.expand_flip import RandomExpand, RandomFlip
from ppdet_lite.data.transforms.mixup import Mixup
from ppdet_lite.data.transforms.mosaic import Mosaic
from ppdet_lite.data.transforms.pad import PadResize
from ppdet_lite.data.transforms.transform import Context

RUNS = 1000
SEED = 20240608
FILL = np.array([123.675, 116.28, 103.53])
BOXES_A = [
    (0.05, 0.1, 0.35, 0.55),
    (0.5, 0.2, 0.58, 0.3),
    (0.45, 0.5, 0.95, 0.95),
    (0.1, 0.7, 0.3, 0.98),
    (0.8, 0.02, 0.99, 0.12),
]
BOXES_B = [
    (0.2, 0.2, 0.8, 0.8),
    (0.02, 0.6, 0.22, 0.75),
    (0.6, 0.05, 0.9, 0.35),
    (0.4, 0.85, 0.55, 0.99),
]
BOXES_YOLOX = [
    BOXES_A,
    BOXES_B,
    [(0.1, 0.1, 0.4, 0.4), (0.6, 0.55, 0.95, 0.9)],
    [(0.05, 0.05, 0.95, 0.3), (0.3, 0.45, 0.7, 0.55), (0.1, 0.7, 0.6, 0.97)],
    [(0.0, 0.0, 0.25, 1.0), (0.4, 0.3, 0.5, 0.6), (0.7, 0.2, 0.98, 0.8)],
]
SIZES_YOLOX = [(150, 210), (180, 160), (120, 120), (200, 90), (96, 240)]


def ks_p_value(first: np.ndarray, second: np.ndarray) -> float:
    """p-value of the two-sample Kolmogorov-Smirnov test (asymptotic series)."""
    first, second = np.sort(first), np.sort(second)
    both = np.concatenate([first, second])
    share_a = np.searchsorted(first, both, side="right") / len(first)
    share_b = np.searchsorted(second, both, side="right") / len(second)
    distance = np.abs(share_a - share_b).max()
    effective = np.sqrt(len(first) * len(second) / (len(first) + len(second)))
    x = (effective + 0.12 + 0.11 / effective) * distance
    if x < 0.2:
        return 1.0
    k = np.arange(1, 101)
    return float(np.clip(2 * np.sum((-1.0) ** (k - 1) * np.exp(-2 * (k * x) ** 2)), 0, 1))


def make_sample(image: np.ndarray, fractions, first_class: int) -> dict:
    height, width = image.shape[:2]
    size = np.array([width, height, width, height])
    count = len(fractions)
    return {
        "image": LazyImage(image),
        "gt_bbox": (np.array(fractions) * size).astype(np.float32),
        "gt_class": np.arange(first_class, first_class + count, dtype=np.int32)[:, None],
        "gt_score": np.ones((count, 1), np.float32),
        "is_crowd": np.zeros((count, 1), np.int32),
    }


def run_many(transforms, image_a, image_b) -> dict:
    """The quantities recorded in golden/augment for RUNS runs on A with B as partner."""

    def samples():
        yield make_sample(image_a, BOXES_A, 1)
        while True:
            yield make_sample(image_b, BOXES_B, 21)

    return run_with(transforms, samples, fill_rounding)


def run_with(transforms, samples, correction=lambda image: 0) -> dict:
    """RUNS runs on the first of `samples()` with the next ones as partners, in their order.

    `correction` of an image is added to its channel means.
    """
    rows = {
        name: [] for name in ("hw", "ch_mean", "ch_std", "n_box", "box", "cls", "area", "score")
    }
    for run in range(RUNS):
        context = Context(np.random.default_rng((SEED, run)))
        sources = samples()
        sample = next(sources)
        context.partner = sources.__next__
        for transform in transforms:
            sample = transform(sample, context)
        mean, std = cv2.meanStdDev(sample["image"].render())
        boxes = sample["gt_bbox"]
        rows["hw"].append(sample["image"].size_hw)
        rows["ch_mean"].append(mean[:, 0] + correction(sample["image"]))
        rows["ch_std"].append(std[:, 0])
        rows["n_box"].append(len(boxes))
        size = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
        for name, values in (
            ("box", boxes),
            ("cls", sample["gt_class"][:, 0]),
            ("area", size[:, 0] * size[:, 1]),
            ("score", sample["gt_score"][:, 0]),
        ):
            padded = np.full((24, *values.shape[1:]), np.nan)
            padded[: len(values)] = values
            rows[name].append(padded)
    return {name: np.array(values, np.float64) for name, values in rows.items()}


def fill_rounding(image: LazyImage) -> np.ndarray:
    """What rounding the fill color took away from the channel means."""
    if not image.has_fill:
        return np.zeros(3)
    lost = FILL - image.fill
    assert (np.abs(lost) < 0.5).all()
    content = image.content.width * image.content.height
    return lost * (1 - content / (image.width * image.height))


def row_sums(values: np.ndarray, name: str) -> np.ndarray:
    """[R, columns]: what of a recorded array is compared; box rows are summed over objects.

    Values are put on a grid of 0.05, so that equal results in float32 and float64 count as ties;
    its offset keeps halves and tenths away from the edges of the grid.
    """
    if name in ("box", "cls", "area", "score"):
        values = np.nansum(values, axis=1)
    return np.floor(values.reshape(len(values), -1) / 0.05 + 0.37) * 0.05


def compare(recorded, ours: dict, names) -> None:
    failures = []
    for name in names:
        reference = row_sums(recorded[f"aug_{name}"].astype(np.float64), name)
        own = row_sums(ours[name], name)
        for column in range(reference.shape[1]):
            p = ks_p_value(reference[:, column], own[:, column])
            if p < 1e-3:
                means = reference[:, column].mean(), own[:, column].mean()
                failures.append(f"{name}[{column}]: p = {p:.2e}, means {means}")
    assert not failures, "\n".join(failures)


@pytest.fixture(scope="module")
def photos(golden_fill):
    return golden_fill.synth(150, 210, 0), golden_fill.synth(180, 160, 1)


@pytest.fixture(scope="module")
def recorded(golden):
    return lambda name: np.load(golden / "augment" / f"{name}.npz")


BOX_COLUMNS = ("hw", "n_box", "box", "cls", "area")
PIXEL_COLUMNS = ("ch_mean", "ch_std")


def test_mixup(photos, recorded):
    compare(
        recorded("Mixup"), run_many([Mixup()], *photos), BOX_COLUMNS + PIXEL_COLUMNS + ("score",)
    )


def test_random_distort(photos, recorded):
    ours = run_many([RandomDistort()], *photos)
    compare(recorded("RandomDistort"), ours, BOX_COLUMNS + PIXEL_COLUMNS)


def test_random_crop(photos, recorded):
    ours = run_many([RandomCrop()], *photos)
    compare(recorded("RandomCrop"), ours, BOX_COLUMNS + PIXEL_COLUMNS)


def test_random_flip(photos, recorded):
    ours = run_many([RandomFlip()], *photos)
    compare(recorded("RandomFlip"), ours, BOX_COLUMNS + PIXEL_COLUMNS)


def test_random_expand(photos, recorded):
    reference = dict(recorded("RandomExpand"))
    ours = run_many([RandomExpand(fill_value=FILL.tolist())], *photos)
    compare(reference, ours, BOX_COLUMNS)
    compare(reference, ours, PIXEL_COLUMNS)


def test_chain(photos, recorded):
    chain = [
        Mixup(),
        RandomDistort(),
        RandomExpand(fill_value=FILL.tolist()),
        RandomCrop(),
        RandomFlip(),
    ]
    ours = run_many(chain, *photos)
    compare(recorded("chain"), ours, BOX_COLUMNS + PIXEL_COLUMNS + ("score",))


@pytest.fixture(scope="module")
def yolox_samples(golden_fill):
    """A function that iterates over the five samples, always in the same roles."""
    photos = [golden_fill.synth(*size, index) for index, size in enumerate(SIZES_YOLOX)]

    def samples():
        for index, photo in enumerate(photos):
            yield make_sample(photo, BOXES_YOLOX[index], 1 + 10 * index)

    return samples


def test_augment_hsv(yolox_samples, recorded):
    reference = recorded("AugmentHSV")
    ours = run_with([AugmentHSV(**json.loads(str(reference["settings"])))], yolox_samples)
    compare(reference, ours, BOX_COLUMNS + PIXEL_COLUMNS)


@pytest.mark.parametrize("config", ["yolox_s_300e_coco", "yolox_nano_300e_coco"])
def test_mosaic(yolox_samples, recorded, config):
    reference = recorded(f"mosaic_{config}")
    ours = run_with([Mosaic(**json.loads(str(reference["settings"])))], yolox_samples)
    compare(reference, ours, BOX_COLUMNS + PIXEL_COLUMNS)
    # Objects stay in their order here, so each has a distribution of its own: no sums.
    both = np.stack([reference["aug_box"].astype(np.float64), ours["box"]])
    both = np.floor(both.reshape(2, RUNS, -1) / 0.05 + 0.37)
    columns = [(a[~np.isnan(a)], b[~np.isnan(b)]) for a, b in both.transpose(2, 0, 1)]
    p_values = [ks_p_value(a, b) for a, b in columns if len(a)]
    assert len(p_values) == 4 * reference["aug_n_box"].max()
    assert min(p_values) > 1e-3


def yolox_chain(reference, pad_resize) -> list:
    known = {cls.__name__: cls for cls in (Mosaic, AugmentHSV, RandomFlip)}
    known["PadResize"] = pad_resize
    return [
        known[name](**settings)
        for entry in json.loads(str(reference["settings"]))
        for name, settings in entry.items()
    ]


def test_yolox_chain(yolox_samples, recorded):
    reference = recorded("chain_yolox_s_300e_coco")
    ours = run_with(yolox_chain(reference, PadResize), yolox_samples)
    compare(reference, ours, BOX_COLUMNS + PIXEL_COLUMNS)


class CuttingPadResize(PadResize):
    """The reference's way for images without a mosaic: HSV at full size, resized as floats, whose
    fractions are cut off when they are laid on the uint8 sheet.
    """

    def __call__(self, sample, context=None):
        pixels = sample["image"].render().astype(np.float32)
        fitted = super().__call__(sample, context)
        height, width = (int(side) for side in fitted["im_shape"])
        if (height, width) == self.target_hw:
            return fitted
        sheet = np.full((*self.target_hw, 3), self.fill_value, np.uint8)
        sheet[:height, :width] = cv2.resize(pixels, (width, height))
        return {**fitted, "image": LazyImage(sheet)}


def test_yolox_chain_with_images_that_skip_the_mosaic(yolox_samples, recorded):
    """Half of these images are only fitted into the size. There the reference cuts off fractions
    (`CuttingPadResize`) and so darkens the image a little; here they are rounded, and colors
    change after resizing. With its way the distributions agree; without it the pixels of the same
    runs differ by less than 0.35 levels in the mean and 0.25 in the deviation, and
    everything else is equal.
    """
    reference = recorded("chain_yolox_nano_300e_coco")
    as_reference = run_with(yolox_chain(reference, CuttingPadResize), yolox_samples)
    compare(reference, as_reference, BOX_COLUMNS + PIXEL_COLUMNS)
    ours = run_with(yolox_chain(reference, PadResize), yolox_samples)
    compare(reference, ours, BOX_COLUMNS)
    for name in BOX_COLUMNS:
        np.testing.assert_array_equal(ours[name], as_reference[name])
    brighter = ours["ch_mean"] - as_reference["ch_mean"]
    assert brighter.min() >= -1e-9
    assert brighter.max() < 0.35
    assert np.abs(ours["ch_std"] - as_reference["ch_std"]).max() < 0.25


def test_ks_p_value_tells_distributions_apart():
    rng = np.random.default_rng(1)
    same = ks_p_value(rng.normal(size=1000), rng.normal(size=1000))
    shifted = ks_p_value(rng.normal(size=1000), rng.normal(0.3, 1, size=1000))
    assert same > 0.05
    assert shifted < 1e-3
