import cv2
import numpy as np
import pytest

from ppdet_lite.data.pixels.color import (
    ChannelOrder,
    HueShift,
    LevelMap,
    Saturation,
    apply_changes,
    mean_gray,
)
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.pixels.resampling import IN_FLOATS, INTERPOLATIONS


def make_photo(height, width, seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(height // 8, 2), max(width // 8, 2), 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height))


@pytest.fixture
def first():
    return make_photo(60, 80, 0)


@pytest.fixture
def second():
    return make_photo(90, 50, 1)


def on_canvas(image, width, height, left, top, fill):
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = fill
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas


def test_nothing_done_is_the_source(first):
    image = LazyImage(first)
    np.testing.assert_array_equal(image.render(), first)
    assert image.size_hw == (60, 80)


@pytest.mark.parametrize("interp", range(5))
def test_crop_and_resize_equal_opencv(first, interp):
    image = LazyImage(first).crop(10, 5, 40, 50).resize(96, 64, interp)
    expected = cv2.resize(first[5:55, 10:50], (64, 96), interpolation=INTERPOLATIONS[interp])
    if interp in IN_FLOATS:  # OpenCV has fixed-point numbers
        difference = np.abs(image.render().astype(int) - expected)
        assert difference.max() == 1
        assert difference.mean() < 0.1
        expected = image.render()
    np.testing.assert_array_equal(image.render(), expected)
    np.testing.assert_array_equal(
        image.flip().render(), expected[:, ::-1]
    )  # the mirrored result, not the resize of a mirrored image


def test_operations_compose_like_arrays(first):
    """A random walk of crops, flips and expansions, against the same done on arrays."""
    rng = np.random.default_rng(5)
    for _ in range(40):
        image, array = LazyImage(first), first
        for _ in range(6):
            height, width = array.shape[:2]
            kind = rng.integers(3)
            if kind == 0 and min(height, width) > 8:
                w, h = int(rng.integers(1, width + 1)), int(rng.integers(1, height + 1))
                x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
                image, array = image.crop(x, y, w, h), array[y : y + h, x : x + w]
            elif kind == 1:
                image, array = image.flip(), array[:, ::-1]
            else:
                w, h = width + int(rng.integers(0, 30)), height + int(rng.integers(0, 30))
                x, y = int(rng.integers(0, w - width + 1)), int(rng.integers(0, h - height + 1))
                fill = (7, 8, 9) if rng.random() < 0.8 else (100, 3, 50)
                image = image.expand(w, h, x, y, fill)
                array = on_canvas(array, w, h, x, y, fill)
            np.testing.assert_array_equal(image.render(), array)


def test_flip_twice_is_identity(first):
    np.testing.assert_array_equal(LazyImage(first).flip().flip().render(), first)


def test_mix_by_hand(first, second):
    mixed = LazyImage(first).mix(LazyImage(second), 0.3)
    assert mixed.size_hw == (90, 80)
    by_hand = np.zeros((90, 80, 3))
    by_hand[:60, :80] += 0.3 * first
    by_hand[:90, :50] += 0.7 * second
    np.testing.assert_array_equal(mixed.render(), np.floor(by_hand + 1e-3))
    np.testing.assert_array_equal(mixed.render()[60:, 50:], 0)


def test_mix_of_mixes(first, second):
    mixed = LazyImage(first).mix(LazyImage(second), 0.5).mix(LazyImage(first), 0.5)
    by_hand = np.zeros((90, 80, 3))
    by_hand[:60, :80] += 0.75 * first
    by_hand[:90, :50] += 0.25 * second
    assert np.abs(mixed.render() - by_hand).max() <= 1.01


def test_mix_of_an_edited_image(first, second):
    """What cannot be written as plain layers is rendered first."""
    edited = LazyImage(first).flip().recolor(LevelMap(0.5)).expand(90, 90, 3, 4, 11)
    array = on_canvas((first[:, ::-1] * 0.5).astype(np.uint8), 90, 90, 3, 4, 11)
    ours = edited.mix(LazyImage(second), 0.4).render()
    expected = LazyImage(array).mix(LazyImage(second), 0.4).render()
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("interp", [1, 2, 3, 4])
@pytest.mark.parametrize("size_hw", [(32, 48), (60, 80), (128, 160)])
def test_blending_before_or_after_the_resize(first, second, interp, size_hw, monkeypatch):
    """Which one is chosen is a matter of time: the image is the same but for its rounding and
    the pixels along the edges of its layers.
    """
    mixed = LazyImage(first).mix(LazyImage(second), 0.4)
    colored = mixed.recolor(LevelMap(1.2)).recolor(Saturation(1.3)).contrast(0.8)
    for image in (mixed, colored, mixed.expand(150, 140, 20, 10, (120, 110, 100)).flip()):
        found = []
        for blends_first in (True, False):
            monkeypatch.setattr(LazyImage, "_blends_first", lambda *args, way=blends_first: way)
            found.append(image.resize(*size_hw, interp).render().astype(int))
        difference = found[0] - found[1]
        assert np.abs(difference).mean() < 2
        assert abs(difference.mean()) < 0.6
        assert np.abs(found[0] - found[1][:, ::-1]).mean() > 10  # what another image would give


def test_blending_happens_where_it_is_less_work(first, second, monkeypatch):
    mixed = LazyImage(first).mix(LazyImage(second), 0.4)
    canvases = []
    monkeypatch.setattr(LazyImage, "_compose", lambda self, out, *rest: canvases.append(out.shape))
    for size_hw in ((32, 32), (180, 160)):
        mixed.resize(*size_hw, 1).render()
    assert canvases == [(32, 32, 3), (90, 80, 3)]  # shrunk before, enlarged after


def test_operations_after_resize_act_on_the_resized_image(first):
    image = LazyImage(first).resize(30, 40, 1)
    array = cv2.resize(first, (40, 30))
    np.testing.assert_array_equal(image.crop(5, 6, 20, 10).render(), array[6:16, 5:25])
    np.testing.assert_array_equal(
        image.expand(50, 50, 1, 2, 9).render(), on_canvas(array, 50, 50, 1, 2, 9)
    )
    np.testing.assert_array_equal(image.resize(15, 20, 0).render(), array[::2, ::2])


def test_render_into_a_given_buffer(first):
    image = LazyImage(first).crop(0, 0, 30, 30).resize(24, 24, 2)
    batch = np.zeros((2, 24, 24, 3), np.uint8)
    assert image.render(batch[1]) is not None
    np.testing.assert_array_equal(batch[1], image.render())
    assert not batch[0].any()
    with pytest.raises(ValueError, match=r"out is uint8 \[24, 20, 3\], need \[24, 24, 3\]"):
        image.render(np.zeros((24, 20, 3), np.uint8))


def test_sources_and_images_never_change(first, second):
    first.flags.writeable = second.flags.writeable = False
    image = LazyImage(first)
    before = image.render()
    changed = image.mix(LazyImage(second), 0.5).recolor(Saturation(1.5)).contrast(0.7)
    changed.expand(200, 200, 5, 5, 3).crop(2, 2, 100, 90).flip().resize(32, 32, 4).render()
    np.testing.assert_array_equal(image.render(), before)


def test_color_does_not_touch_a_later_fill(first):
    image = LazyImage(first).recolor(LevelMap(0.5)).expand(100, 100, 10, 10, (200, 100, 50))
    np.testing.assert_array_equal(image.render()[0, 0], [200, 100, 50])
    np.testing.assert_array_equal(image.render()[10:70, 10:90], first // 2)


def test_color_after_a_fill_changes_it_too(first):
    image = LazyImage(first).expand(100, 100, 10, 10, (200, 100, 50))
    changes = (LevelMap(0.5), HueShift(40.5), ChannelOrder((2, 0, 1)))
    expected = image.render()
    for change in changes:
        image = image.recolor(change)
    apply_changes(expected, changes)
    np.testing.assert_array_equal(image.render(), expected)
    assert (image.render()[0, 0] != [200, 100, 50]).any()


def test_contrast_uses_the_mean_of_the_whole_canvas(first, second):
    """Black mixup padding and the fill belong to it."""
    mixed = LazyImage(first).mix(LazyImage(second), 0.5).expand(120, 120, 0, 0, 250)
    pixels = mixed.render()
    mean = mean_gray(pixels)
    expected = np.clip(mean + 0.6 * (pixels.astype(float) - mean) + 1e-6, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(mixed.contrast(0.6).render(), expected)


def test_thumbnail_mean_of_a_large_image():
    photo = make_photo(700, 900, 3)
    image = LazyImage(photo)
    assert max(image.thumbnail().shape) <= 200
    assert abs(mean_gray(image.thumbnail()) - mean_gray(photo)) <= 1


def test_merged_tables_equal_single_steps(first):
    steps = (LevelMap(1.3), LevelMap(0.6, 40), LevelMap(1.1))
    at_once, one_by_one = first.copy(), first.copy()
    apply_changes(at_once, steps)
    for step in steps:
        apply_changes(one_by_one, (step,))
    np.testing.assert_array_equal(at_once, one_by_one)


def test_color_like_pil(first):
    """PIL's own arithmetic; the hue within what two roundings of it may differ."""
    pil = pytest.importorskip("PIL.Image")
    from PIL import ImageEnhance

    image = pil.fromarray(first)
    for change, enhanced, tolerance in (
        (LevelMap(1.37), ImageEnhance.Brightness(image).enhance(1.37), 0),
        (Saturation(1.4), ImageEnhance.Color(image).enhance(1.4), 1),
        (Saturation(0.3), ImageEnhance.Color(image).enhance(0.3), 1),
    ):
        ours = first.copy()
        apply_changes(ours, (change,))
        assert np.abs(ours.astype(int) - np.asarray(enhanced)).max() <= tolerance
    contrast = LazyImage(first).contrast(0.63).render().astype(int)
    expected = np.asarray(ImageEnhance.Contrast(image).enhance(0.63))
    assert np.abs(contrast - expected).max() <= 1


@pytest.mark.parametrize("delta", [-17.6, -3.0, 0.0, 11.4, 200.0])
def test_hue_moves_on_a_circle(delta):
    """Pure colors, where hue is known by hand: red is 0, green 85, blue 170 of 255."""
    colors = np.array([[[200, 0, 0], [0, 200, 0], [0, 0, 200]]], np.uint8)
    hues = np.array([0.0, 85.0, 170.0])
    moved = colors.copy()
    apply_changes(moved, (HueShift(delta),))
    angle = cv2.cvtColor(moved.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[0, :, 0] / 360 * 255
    error = (angle - hues - delta + 127.5) % 255 - 127.5
    assert np.abs(error).max() <= 2.0
    np.testing.assert_array_equal(moved.max(axis=2), 200)


def test_tiny_result_drops_what_is_thinner_than_a_pixel(first):
    image = LazyImage(first).expand(2000, 2000, 900, 900, (1, 2, 3)).resize(2, 2, 0)
    assert image.render().shape == (2, 2, 3)
    far = LazyImage(np.full((1, 1, 3), 9, np.uint8)).expand(500, 500, 3, 3, 5).resize(8, 8, 1)
    np.testing.assert_array_equal(far.render(), 5)


def test_one_pixel_through_everything():
    image = LazyImage(np.full((1, 1, 3), 100, np.uint8)).contrast(0.5)
    image = image.mix(image, 0.5).flip().expand(3, 3, 1, 1, 0).crop(1, 1, 1, 1)
    np.testing.assert_array_equal(image.resize(4, 4, 2).render(), 100)


def test_bad_requests(first):
    image = LazyImage(first)
    with pytest.raises(ValueError, match="leaves the canvas of 80x60"):
        image.crop(50, 0, 40, 10)
    with pytest.raises(ValueError, match="cannot crop 0x5"):
        image.crop(0, 0, 0, 5)
    with pytest.raises(ValueError, match="80x60 does not fit into 85x70"):
        image.expand(85, 70, 10, 0, 0)
    with pytest.raises(ValueError, match=r"expected a uint8 image \[H, W, 3\], got float64"):
        LazyImage(first / 2)
