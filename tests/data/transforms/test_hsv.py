import colorsys

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.distort import AugmentHSV, HsvChange
from ppdet_lite.data.transforms.transform import Context

GAINS = {"hgain": 5, "sgain": 30, "vgain": 30}


def photo(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def apply(image, change):
    changed = image.copy()
    change.apply(changed)
    return changed


def run(transform, seed=0, image=None):
    sample = {"image": LazyImage(photo() if image is None else image)}
    return transform(sample, Context(np.random.default_rng(seed)))["image"]


def test_each_channel_by_hand():
    """A color of hue 60 degrees (yellow), saturation 200 / 255, value 100."""
    yellow = cv2.cvtColor(np.array([[[30, 200, 100]]], np.uint8), cv2.COLOR_HSV2RGB)

    def changed(**settings):
        return cv2.cvtColor(apply(yellow, HsvChange(**settings)), cv2.COLOR_RGB2HSV)[0, 0].tolist()

    assert np.abs(np.subtract(changed(shift=(5, 0, 0)), [35, 200, 100])).max() <= 2
    assert np.abs(np.subtract(changed(shift=(0, -60, 0)), [30, 140, 100])).max() <= 2
    assert np.abs(np.subtract(changed(shift=(0, 0, 50)), [30, 200, 150])).max() <= 2
    assert np.abs(np.subtract(changed(factor=(1, 0.5, 1)), [30, 100, 100])).max() <= 2
    assert changed(shift=(0, 0, -200)) == [0, 0, 0]
    assert changed(shift=(0, 0, 200))[2] == 255


def test_hue_goes_round_and_the_rest_is_clipped():
    hue, saturation, value = HsvChange((-3.5, 40.9, -10.0)).table()[0].T
    assert hue[:6].tolist() == [176, 177, 178, 179, 0, 1]
    assert hue[:180].max() == 179
    assert saturation[[0, 100, 250]].tolist() == [40, 140, 255]  # fractions cut off
    assert value[[0, 9, 10, 255]].tolist() == [0, 0, 0, 245]
    assert HsvChange((4.0, 0.0, 0.0)).table()[0, [175, 176, 179], 0].tolist() == [179, 0, 3]


def test_red_turns_towards_yellow():
    red = np.full((2, 2, 3), (200, 0, 0), np.uint8)
    turned = apply(red, HsvChange((10.0, 0.0, 0.0)))[0, 0] / 255
    assert colorsys.rgb_to_hsv(*turned)[0] * 360 == pytest.approx(20, abs=1)


def test_without_change_only_rounding():
    image = photo()
    assert np.abs(apply(image, HsvChange()).astype(int) - image).max() <= 8
    gray = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    np.testing.assert_array_equal(apply(gray, HsvChange()), gray)


def test_draws_stay_within_the_gains_and_half_are_nothing():
    transform = AugmentHSV(is_bgr=False, **GAINS)
    shifts = np.array([run(transform, seed).changes[0].shift for seed in range(400)])
    assert (np.abs(shifts) <= [5, 30, 30]).all()
    assert (np.abs(shifts).max(axis=0) > [4.5, 27, 27]).all()
    np.testing.assert_allclose((shifts != 0).mean(axis=0), 0.5, atol=0.08)
    assert ((shifts != 0).all(axis=1)).mean() == pytest.approx(1 / 8, abs=0.05)


def test_bgr_turns_the_hue_the_other_way():
    for seed in range(10):
        rgb = run(AugmentHSV(is_bgr=False, **GAINS), seed).changes[0].shift
        bgr = run(AugmentHSV(is_bgr=True, **GAINS), seed).changes[0].shift
        assert bgr == (-rgb[0], *rgb[1:])


def test_factors_without_gains():
    transform = AugmentHSV(fraction=0.4)
    changes = [run(transform, seed).changes[0] for seed in range(200)]
    factors = np.array([change.factor for change in changes])
    assert all(change.shift == (0, 0, 0) for change in changes)
    assert (factors[:, 0] == 1).all()
    assert 0.6 <= factors[:, 1:].min() < 0.63
    assert 1.37 < factors[:, 1:].max() <= 1.4


def test_it_waits_for_the_final_size_and_leaves_the_source_alone():
    image = photo()
    image.flags.writeable = False
    changed = run(AugmentHSV(is_bgr=False, **GAINS), 3, image)
    assert changed.layers[0].source.array is image
    (change,) = changed.changes
    small = cv2.resize(image, (20, 15), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(changed.resize(15, 20, 1).render(), apply(small, change))


def test_bad_settings():
    with pytest.raises(ConfigError, match=r"hgain, sgain and vgain: found \[5, None, 3\], allowed"):
        AugmentHSV(hgain=5, vgain=3)
    with pytest.raises(ConfigError, match="fraction: found 1.5, allowed: 0 to 1"):
        AugmentHSV(fraction=1.5)
