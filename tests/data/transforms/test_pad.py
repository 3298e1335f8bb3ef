import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError, ImageError
from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.reader.readers import EvalReader
from ppdet_lite.data.transforms.decode import Decode
from ppdet_lite.data.transforms.distort import AugmentHSV
from ppdet_lite.data.transforms.expand_flip import RandomFlip
from ppdet_lite.data.transforms.normalize import NormalizeImage, Permute, ToBGR
from ppdet_lite.data.transforms.pad import CornerLetterbox, Pad, PadResize
from ppdet_lite.data.transforms.resize import Resize


def make_sample(height=30, width=60, boxes=((6, 3, 30, 15), (10, 10, 13, 28))):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    boxes_xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    return {
        "im_file": "a.jpg",
        "image": LazyImage(image),
        "im_shape": np.array([height, width], np.float32),
        "scale_factor": np.ones(2, np.float32),
        "gt_bbox": boxes_xyxy,
        "gt_class": np.arange(len(boxes_xyxy), dtype=np.int32)[:, None],
        "gt_poly": [[np.array([[x1, y1], [x2, y1], [x2, y2]])] for x1, y1, x2, y2 in boxes],
    }


@pytest.mark.parametrize(
    ("settings", "corner", "size"),
    [
        ({"size": [40, 80]}, (0, 0), (40, 80)),
        ({"size": 80}, (0, 0), (80, 80)),
        ({"size": [40, 80], "pad_mode": 1}, (10, 5), (40, 80)),
        ({"size": [40, 80], "pad_mode": 2}, (20, 10), (40, 80)),
        ({"size": [40, 80], "pad_mode": -1, "offsets": [4, 7]}, (4, 7), (40, 80)),
        ({"size_divisor": 32}, (0, 0), (32, 64)),
        ({"size_divisor": 30}, (0, 0), (30, 60)),
    ],
)
def test_pad(settings, corner, size):
    sample = make_sample()
    padded = Pad(fill_value=[10, 20, 30], **settings)(sample)
    left, top = corner
    expected = np.full((*size, 3), (10, 20, 30), np.uint8)
    expected[top : top + 30, left : left + 60] = sample["image"].render()
    np.testing.assert_array_equal(padded["image"].render(), expected)
    np.testing.assert_array_equal(padded["gt_bbox"], sample["gt_bbox"] + [left, top] * 2)
    np.testing.assert_array_equal(padded["gt_poly"][1][0][0], [10 + left, 10 + top])
    np.testing.assert_array_equal(padded["im_shape"], [30, 60])
    np.testing.assert_array_equal(padded["scale_factor"], [1, 1])


def test_pad_leaves_inputs_alone_and_takes_images_without_boxes():
    sample = make_sample(boxes=())
    before = sample["image"].render()
    assert Pad(size=[40, 80])({"image": sample["image"]})["image"].size_hw == (40, 80)
    assert Pad(size=[40, 80])(sample)["gt_bbox"].shape == (0, 4)
    assert sample["image"].size_hw == (30, 60)
    np.testing.assert_array_equal(sample["image"].render(), before)
    same = Pad(size=[30, 60])(sample)
    assert same["image"] is sample["image"]


def test_images_larger_than_the_sheet_are_named():
    with pytest.raises(ImageError, match=r"^a.jpg: 60x30 does not fit into 40x40 of Pad at \(0, 0"):
        Pad(size=40)(make_sample())
    with pytest.raises(ImageError, match=r"60x30 does not fit into 64x32 of Pad at \(5, 0\)"):
        Pad(pad_mode=-1, offsets=[5, 0])(make_sample())


def test_bad_settings():
    with pytest.raises(ConfigError, match="pad_mode: found 3, allowed: -1 or 0"):
        Pad(pad_mode=3)
    with pytest.raises(ConfigError, match="offsets: found None with pad_mode -1, allowed"):
        Pad(pad_mode=-1)
    with pytest.raises(ConfigError, match=r"offsets: found \[1, 2\] with pad_mode 0, allowed"):
        Pad(offsets=[1, 2])
    with pytest.raises(ConfigError, match="size_divisor: found 0, allowed: 1 or more"):
        Pad(size_divisor=0)
    with pytest.raises(ConfigError, match=r"size: found \[1\], allowed: a positive integer or"):
        Pad(size=[1])
    with pytest.raises(ConfigError, match=r"fill_value: found \[1, 2\], allowed: one number or"):
        Pad(fill_value=[1, 2])
    with pytest.raises(ConfigError, match="target_size: found 0, allowed: a positive integer or"):
        PadResize(0)


def test_pad_resize_by_hand():
    """30 x 60 (height x width) into 50 x 80: 4 / 3 of both sides, 40 x 80, 10 rows of padding."""
    sample = make_sample(boxes=[(6, 3, 30, 15), (10, 10, 10.7, 28), (0, 0, 9, 0.75)])
    fitted = PadResize([50, 80])(sample)
    pixels = fitted["image"].render()
    expected = cv2.resize(sample["image"].render(), (80, 40), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(pixels[:40], expected)
    assert (pixels[40:] == 114).all()
    np.testing.assert_allclose(fitted["gt_bbox"], [[8, 4, 40, 20]], rtol=1e-6)
    assert fitted["gt_class"].tolist() == [[0]]  # 0.93 px wide; exactly 1 px high: both left out
    assert len(fitted["gt_poly"]) == 1
    np.testing.assert_allclose(fitted["gt_poly"][0][0][2], [40, 20])
    np.testing.assert_array_equal(fitted["im_shape"], [40, 80])
    np.testing.assert_allclose(fitted["scale_factor"], [4 / 3, 4 / 3], rtol=1e-6)
    assert len(sample["gt_bbox"]) == 3


def test_pad_resize_of_tall_wide_and_fitting_images():
    for height, width, inside in ((60, 30, (50, 25)), (7, 80, (7, 80)), (200, 1, (50, 1))):
        fitted = PadResize([50, 80], fill_value=[1, 2, 3])(make_sample(height, width, ()))
        assert fitted["image"].size_hw == (50, 80)
        assert fitted["im_shape"].tolist() == list(inside)
        pixels = fitted["image"].render()
        assert (pixels[inside[0] :] == (1, 2, 3)).all()
        assert (pixels[:, inside[1] :] == (1, 2, 3)).all()
    sample = make_sample(50, 80)
    assert PadResize([50, 80])(sample)["image"] is sample["image"]
    assert PadResize(64)({"image": sample["image"]})["image"].size_hw == (64, 64)


def test_colors_change_inside_only_and_the_flip_takes_the_padding_along():
    sample = AugmentHSV(is_bgr=False, hgain=0, sgain=0, vgain=200)(make_sample(boxes=()))
    fitted = RandomFlip(1.0)(PadResize([60, 90])(RandomFlip(0.0)(sample)))
    pixels = fitted["image"].render()
    assert (pixels[45:] == 114).all()
    portrait = RandomFlip(1.0)(PadResize([60, 90])(make_sample(60, 30, [(0, 0, 30, 60)])))
    pixels = portrait["image"].render()
    assert (pixels[:, :60] == 114).all()
    assert not (pixels[:, 60:] == 114).all()
    np.testing.assert_array_equal(portrait["gt_bbox"], [[60, 0, 90, 60]])


def yolox_eval_reader(**settings):
    steps = [Decode(), Resize([48, 64], True, 1), Pad([48, 64], fill_value=[114.0] * 3), Permute()]
    return EvalReader(steps, batch_size=2, **settings)


def test_preprocess_config_is_what_deployment_takes():
    settings = yolox_eval_reader().preprocess_config()
    assert settings == [
        {"type": "Resize", "target_size": [48, 64], "keep_ratio": True, "interp": 1},
        {"type": "Pad", "size": [48, 64], "fill_value": [114.0, 114.0, 114.0]},
        {"type": "Permute"},
    ]
    photo = np.random.default_rng(1).integers(0, 256, (70, 50, 3), dtype=np.uint8)
    result = Preprocess(settings)(photo)
    assert result["im_shape"].tolist() == [48, 34]
    assert (result["image"][:, :, 34:] == 114).all()


def test_padding_that_deployment_does_not_know():
    for pad in (Pad(), Pad(64, pad_mode=1)):
        with pytest.raises(
            ConfigError, match="Pad cannot be exported without size, and pad_mode 0"
        ):
            EvalReader([Decode(), pad, NormalizeImage(), Permute()]).preprocess_config()


def test_the_size_of_the_network_input():
    assert yolox_eval_reader().input_sizes() == (
        "EvalReader.sample_transforms.Pad.size",
        ((48, 64),),
    )
    multiples = EvalReader([Decode(), Resize([48, 64]), Pad(), Permute()])
    assert multiples.input_sizes() == (
        "EvalReader.sample_transforms.Pad.size_divisor",
        ((64, 64),),
    )
    unknown = EvalReader([Decode(), Resize([48, 64], keep_ratio=True), Pad(), Permute()])
    assert unknown.input_sizes() == ("", ())
    assert unknown.plan.largest_pixels() is None


def letterboxed(height, width, target, **settings):
    sample = make_sample(height, width, boxes=[(6, 3, 30, 15)])
    return sample, CornerLetterbox(target, **settings)(sample)


def test_corner_letterbox_cuts_sides_off_and_keeps_one_factor():
    before, after = letterboxed(31, 60, [32, 50], fill_value=7)
    ratio = 50 / 60  # 31 * 50 / 60 = 25.83
    np.testing.assert_array_equal(after["im_shape"], [25, 50])
    np.testing.assert_allclose(after["scale_factor"], [ratio, ratio])
    np.testing.assert_allclose(after["gt_bbox"], [[5, 2.5, 25, 12.5]], rtol=1e-6)
    pixels = after["image"].render()
    assert pixels.shape == (32, 50, 3) and (pixels[25:] == 7).all()
    expected = cv2.resize(before["image"].render(), (50, 25), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(pixels[:25], expected)


def test_corner_letterbox_and_bgr_are_deployed_as_they_are_evaluated():
    steps = [Decode(), CornerLetterbox([32, 64]), ToBGR(), Permute()]
    for height, width in ((31, 60), (90, 33), (5, 400), (32, 64)):
        sample = make_sample(height, width)
        deployed = Preprocess([step.export_step() for step in steps[1:]])
        assert deployed.output_hw == (32, 64)
        found = deployed(sample["image"].render())
        for step in steps[1:]:
            sample = step(sample)
        np.testing.assert_array_equal(found["image"], sample["image"])
        np.testing.assert_array_equal(found["im_shape"], sample["im_shape"])
        np.testing.assert_array_equal(found["scale_factor"], sample["scale_factor"])


def test_channels_are_turned_round():
    sample = make_sample()
    pixels = sample["image"].render()
    np.testing.assert_array_equal(ToBGR()(sample)["image"].render(), pixels[..., ::-1])
