import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import ImageError
from ppdet_lite.data.pixels import lazy_image
from ppdet_lite.data.pixels.headers import read_header
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.pixels.pixel_source import (
    ArrayPixels,
    DecodedOnce,
    JpegPixels,
    UndecodableError,
    largest_reduction,
)
from ppdet_lite.data.pixels.placement import Rect
from ppdet_lite.data.transforms.crop import RandomCrop
from ppdet_lite.data.transforms.decode import Decode
from ppdet_lite.data.transforms.distort import RandomDistort
from ppdet_lite.data.transforms.expand_flip import RandomExpand, RandomFlip
from ppdet_lite.data.transforms.mixup import Mixup
from ppdet_lite.data.transforms.resize import resize_sample
from ppdet_lite.data.transforms.transform import Context


def make_photo(height, width, seed):
    """Noise of all sizes, the strength of which falls with the frequency, as in photos."""
    rng = np.random.default_rng(seed)
    photo = np.full((height, width, 3), 128.0)
    for octave in range(1, 9):
        shape = (height * 2**octave // 256 + 2, width * 2**octave // 256 + 2, 3)
        photo += cv2.resize(rng.normal(0, 50 * 0.75**octave, shape), (width, height))
    return np.clip(photo, 0, 255).astype(np.uint8)


def jpeg_of(photo):
    return cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def source_of(data, reducible=True):
    header = read_header(data)
    return JpegPixels(data, "x.jpg", header.upright_hw, header.orientation, reducible)


def without_tables(jpeg: bytes) -> bytes:
    """A JPEG whose header is fine, but which cannot be decoded: no quantization tables."""
    return jpeg.replace(b"\xff\xdb", b"\xff\xfe")


@pytest.mark.parametrize(
    "size_hw, target_hw, reduction",
    [
        ((480, 640), (480, 640), 1),
        ((480, 640), (161, 100), 1),  # 480 / 161 < 2 * 1.5
        ((480, 640), (160, 213), 2),
        ((480, 640), (160, 214), 1),  # both sides count
        ((480, 640), (80, 106), 4),
        ((480, 640), (40, 53), 8),
        ((480, 640), (1, 1), 8),
        ((100, 100), (300, 300), 1),
    ],
)
def test_rule_of_the_reduction(size_hw, target_hw, reduction):
    assert largest_reduction(size_hw, target_hw) == reduction


def test_jpeg_pixels():
    photo = make_photo(67, 93, 0)
    source = source_of(jpeg_of(photo))
    assert source.size_hw == (67, 93)
    assert np.abs(source.pixels().astype(int) - photo).mean() < 4
    assert [source.pixels(r).shape for r in (2, 4, 8)] == [(34, 47, 3), (17, 24, 3), (9, 12, 3)]
    full = source_of(jpeg_of(photo), reducible=False)
    assert full.pixels(8).shape == photo.shape


def test_a_jpeg_that_cannot_be_decoded():
    source = source_of(without_tables(jpeg_of(make_photo(40, 40, 0))))
    with pytest.raises(UndecodableError, match=r"^x\.jpg: not an image, or damaged") as error:
        source.pixels()
    assert error.value.path == "x.jpg"
    assert isinstance(error.value, ImageError)


def test_a_header_that_lies():
    source = JpegPixels(jpeg_of(make_photo(40, 60, 0)), "x.jpg", (40, 62), 1, True)
    with pytest.raises(UndecodableError, match="decoded to 30x20 pixels, expected 31x20 from its"):
        source.pixels(2)


def test_every_source_is_decoded_once_per_image():
    calls = []

    class Noted(JpegPixels):
        def pixels(self, reduction=1):
            calls.append((self.path, reduction))
            return super().pixels(reduction)

    jpegs = [jpeg_of(make_photo(90, 120, seed)) for seed in range(2)]
    first, second = (Noted(data, name, (90, 120), 1, True) for data, name in zip(jpegs, "ab"))
    image = LazyImage(first).mix(LazyImage(second), 0.4).contrast(1.3).flip()
    image.resize(90, 100, 1).render()
    assert calls == [("a", 1), ("b", 1)]
    calls.clear()
    image.resize(20, 25, 1).render()
    assert calls == [("a", 2), ("b", 2)]


def test_known_pixels_are_taken_when_they_are_large_enough():
    decoded, source = DecodedOnce(), source_of(jpeg_of(make_photo(64, 64, 0)))
    assert decoded.get(source, 4)[1] == 4
    assert decoded.get(source, 2)[1] == 2
    assert decoded.get(source, 8)[1] == 2


def test_rectangles_of_reduced_images():
    """427 x 640 pixels at 1/4 are 107 x 160."""
    assert Rect(0, 0, 640, 427).reduced(4, (107, 160)) == Rect(0, 0, 160, 107)
    assert Rect(13, 6, 401, 100).reduced(4, (107, 160)) == Rect(3, 2, 100, 25)
    assert Rect(638, 425, 640, 427).reduced(4, (107, 160)) == Rect(159, 106, 160, 107)
    assert Rect(5, 5, 6, 6).reduced(8, (54, 80)) == Rect(1, 1, 2, 2)
    assert Rect(5, 5, 6, 6).reduced(1, (427, 640)) == Rect(5, 5, 6, 6)


# What decoding at a fraction of the size changes ------------------------------------------------


def errors_of_reduced(jpegs, interp, crop, one_step_more=False):
    """Mean absolute difference in levels from the full decoding, per image."""
    errors = []
    for data in jpegs:
        height, width = source_of(data).size_hw
        edges = (13, 7, width - 41, height - 31) if crop else (0, 0, width, height)
        images = []
        for reducible in (True, False):
            image = LazyImage(source_of(data, reducible)).crop(*edges)
            # As much smaller as the rule asks for reduction 2, and not more.
            target = [int(side / (1.5 if one_step_more else 3)) for side in edges[:1:-1]]
            images.append(image.resize(*target, interp).render().astype(int))
        errors.append(np.abs(images[0] - images[1]).mean())
    return np.array(errors)


@pytest.fixture(scope="module")
def photos(repo):
    """JPEGs of real photos where there are some beside the repository, of made-up ones else."""
    folder = repo.parent / "shared/data/coco128/train2017"
    files = sorted(folder.glob("*.jpg"))[:24]
    if files:
        return [path.read_bytes() for path in files]
    return [jpeg_of(make_photo(480, 640, seed)) for seed in range(6)]


@pytest.mark.parametrize("crop, bound", [(False, 4.0), (True, 7.0)])
def test_pixel_error_of_reduced_decoding(photos, crop, bound, monkeypatch):
    """With interpolation 3 (area), which loses no detail by skipping pixels, the largest reduction
    that the rule allows changes little; twice as much does not stay within the bound.
    """
    assert errors_of_reduced(photos, 3, crop).mean() < bound
    monkeypatch.setattr(lazy_image, "largest_reduction", lambda size_hw, target_hw: 2)
    assert errors_of_reduced(photos, 3, crop, one_step_more=True).mean() > bound


def test_reduced_decoding_changes_less_than_the_choice_of_interpolation(photos):
    """The interpolations that skip pixels show other ones; two of them differ by more than that."""
    for interp in (0, 1, 2, 4):
        change = errors_of_reduced(photos, interp, crop=False).mean()
        differences = []
        for data in photos:
            source = source_of(data, reducible=False)
            target = [side // 3 for side in source.size_hw]
            nearest, other = (
                LazyImage(source).resize(*target, i).render().astype(int)
                for i in (0, 3 if interp == 0 else interp)
            )
            differences.append(np.abs(nearest - other).mean())
        assert change < np.mean(differences)


def sample_of(path, data, boxes, reduced, context):
    record = {
        "im_file": path,
        "gt_bbox": np.array(boxes, np.float32),
        "gt_class": np.zeros((len(boxes), 1), np.int32),
        "gt_score": np.ones((len(boxes), 1), np.float32),
        "image": data,
    }
    return Decode(reduced=reduced)(record, context)


def test_distributions_with_and_without_reduced_decoding(photos):
    """The same draws: boxes are equal, means and standard deviations of the channels nearly."""
    steps = [Mixup(), RandomDistort(), RandomExpand(), RandomCrop(), RandomFlip()]
    boxes = [(20, 30, 200, 180), (150, 60, 300, 300)]
    statistics = {True: [], False: []}
    for run in range(120):
        both = {}
        for reduced in (True, False):
            context = Context(np.random.default_rng(run))
            pair = photos[run % len(photos)], photos[(7 * run + 3) % len(photos)]
            context.partner = lambda c=context, r=reduced, d=pair[1]: sample_of("b", d, boxes, r, c)
            sample = sample_of("a", pair[0], boxes, reduced, context)
            for step in steps:
                sample = step(sample, context)
            sample = resize_sample(sample, (128, 128), False, run % 5)
            mean, deviation = cv2.meanStdDev(sample["image"].render())
            statistics[reduced].append(np.concatenate([mean, deviation])[:, 0])
            both[reduced] = sample["gt_bbox"]
        np.testing.assert_array_equal(both[True], both[False])
    with_it, without = np.array(statistics[True]), np.array(statistics[False])
    change = with_it - without
    assert (change != 0).any(axis=1).mean() > 0.3  # it is really used
    assert np.abs(change[:, :3]).mean() < 0.5
    assert np.abs(change[:, :3].mean(axis=0)).max() < 0.15
    assert np.abs(change[:, 3:].mean(axis=0)).max() < 2.0
    spread = without.std(axis=0)
    assert (np.abs(change).mean(axis=0) < 0.1 * spread).all()


# Where it is used -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reduced, training, expected",
    [(None, True, 2), (None, False, 1), (True, False, 2), (False, True, 1)],
)
def test_switch(reduced, training, expected):
    context = Context(np.random.default_rng(0), training=training)
    sample = sample_of("a.jpg", jpeg_of(make_photo(90, 120, 0)), [], reduced, context)
    (layer,) = sample["image"].layers
    assert layer.source.usable_reduction(2) == expected


def test_other_formats_are_decoded_at_once():
    photo = make_photo(20, 30, 0)
    png = cv2.imencode(".png", photo[..., ::-1])[1].tobytes()
    (layer,) = Decode()({"image": png})["image"].layers
    assert isinstance(layer.source, ArrayPixels)
    np.testing.assert_array_equal(layer.source.pixels(), photo)


def test_refused_images_count_as_unreadable():
    context = Context(np.random.default_rng(0), refused={"a.jpg": "a.jpg: damaged"})
    with pytest.raises(ImageError, match=r"^a\.jpg: damaged$") as error:
        sample_of("a.jpg", jpeg_of(make_photo(20, 30, 0)), [], None, context)
    assert not isinstance(error.value, UndecodableError)
