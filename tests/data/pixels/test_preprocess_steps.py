"""The list `Preprocess` of infer_cfg.yml: its steps, their order and what they give."""

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.pixels.image_ops import Preprocess, pad, resize


@pytest.fixture
def photo():
    """Smooth, 40 x 64."""
    y, x = np.mgrid[0:40, 0:64]
    return np.stack([2 * x + 60, 4 * y + 40, 200 - 2 * x], axis=2).astype(np.uint8)


def test_preprocess_without_normalization_gives_levels(photo):
    result = Preprocess([{"type": "Permute"}])(photo)
    np.testing.assert_array_equal(result["image"], photo.transpose(2, 0, 1).astype(np.float32))
    assert result["image"].dtype == np.float32
    np.testing.assert_array_equal(result["im_shape"], [40, 64])
    np.testing.assert_array_equal(result["scale_factor"], [1, 1])


def test_preprocess_errors():
    with pytest.raises(ConfigError) as error:
        Preprocess([{"type": "Warp"}])
    assert str(error.value) == (
        "Preprocess.0.type: found 'Warp'; this project knows CornerLetterbox, NormalizeImage, Pad, "
        "Permute, Resize, ToBGR"
    )
    with pytest.raises(ConfigError) as error:
        Preprocess([{"type": "Resize", "target_size": 32, "size": 3}])
    assert str(error.value) == (
        "Preprocess.0 (Resize): unknown key 'size'; allowed: interp, keep_ratio, target_size"
    )
    with pytest.raises(
        ConfigError, match="Preprocess.Resize.interp: found 7, allowed: 0 nearest, 1"
    ):
        Preprocess([{"type": "Resize", "target_size": 32, "interp": 7}])


RESIZE = {"type": "Resize", "target_size": [32, 32], "keep_ratio": False, "interp": 1}
PAD = {"type": "Pad", "size": [64, 80], "fill_value": 7}
NORMALIZE = {"type": "NormalizeImage", "mean": [0.5] * 3, "std": [0.2] * 3, "is_scale": True}
PERMUTE = {"type": "Permute"}


def test_steps_run_in_their_order(photo):
    """The image is 40 x 64."""
    first, then = Preprocess([PAD, RESIZE, PERMUTE]), Preprocess([RESIZE, PAD, PERMUTE])
    assert first.output_hw == (32, 32) and then.output_hw == (64, 80)
    result = first(photo)
    expected = resize(pad(photo, (64, 80), 7), (32, 32), False, 1)[0]
    np.testing.assert_array_equal(result["image"], expected.transpose(2, 0, 1))
    np.testing.assert_array_equal(result["im_shape"], [32, 32])
    np.testing.assert_allclose(result["scale_factor"], [32 / 64, 32 / 80])
    result = then(photo)
    expected = pad(resize(photo, (32, 32), False, 1)[0], (64, 80), 7)
    np.testing.assert_array_equal(result["image"], expected.transpose(2, 0, 1))
    np.testing.assert_array_equal(result["im_shape"], [32, 32])
    np.testing.assert_allclose(result["scale_factor"], [32 / 40, 32 / 64])


def test_scales_of_several_steps_are_those_of_all(photo):
    again = {**RESIZE, "target_size": [16, 48]}
    result = Preprocess([RESIZE, PAD, again])(photo)
    assert result["image"].shape == (3, 16, 48)
    np.testing.assert_allclose(result["scale_factor"], [32 / 40 * 16 / 64, 32 / 64 * 48 / 80])


def test_a_kept_ratio_leaves_the_size_open():
    kept = {**RESIZE, "keep_ratio": True}
    assert Preprocess([kept]).output_hw is None
    assert Preprocess([PAD, kept]).output_hw == (26, 32)
    assert Preprocess([kept, PAD]).output_hw == (64, 80)


@pytest.mark.parametrize(
    ("steps", "refused"),
    [
        ([RESIZE, NORMALIZE, PAD], "2 .Pad.: found after NormalizeImage"),
        ([NORMALIZE, RESIZE], "1 .Resize.: found after NormalizeImage"),
        ([RESIZE, PERMUTE, NORMALIZE], "2 .NormalizeImage.: found after Permute"),
        ([RESIZE, NORMALIZE, NORMALIZE], "2 .NormalizeImage.: found after NormalizeImage"),
        ([PERMUTE, PERMUTE], "1 .Permute.: found after Permute"),
    ],
)
def test_orders_that_are_refused(steps, refused):
    with pytest.raises(ConfigError, match=f"^Preprocess.{refused}, allowed: "):
        Preprocess(steps)
