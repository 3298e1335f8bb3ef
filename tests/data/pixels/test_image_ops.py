import struct

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError, ImageError
from ppdet_lite.data.pixels import image_ops
from ppdet_lite.data.pixels.headers import ImageHeader, read_header
from ppdet_lite.data.pixels.image_ops import (
    Normalizer,
    decode_bytes,
    decode_image,
    fill_to_uint8,
    pad,
    resize,
)
from ppdet_lite.data.pixels.resampling import IN_FLOATS, INTERPOLATIONS, resize_exact


@pytest.fixture
def photo():
    """A smooth image whose four corners differ: JPEG keeps it within a few levels."""
    y, x = np.mgrid[0:40, 0:64]
    return np.stack([2 * x + 60, 4 * y + 40, 200 - 2 * x], axis=2).astype(np.uint8)


def encode(photo_rgb, suffix=".png", *options):
    ok, data = cv2.imencode(suffix, photo_rgb[..., ::-1], list(options))
    assert ok
    return data.tobytes()


def with_exif_orientation(jpeg: bytes, orientation: int, byte_order: str = "<") -> bytes:
    """Puts an EXIF segment with only the orientation tag behind the start of a JPEG."""
    start = struct.pack(byte_order + "HIH", 42, 8, 1)
    entry = struct.pack(byte_order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = (b"II" if byte_order == "<" else b"MM") + start + entry + bytes(4)
    content = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def png(width, height, depth, color_type, rows: bytes) -> bytes:
    """A PNG written by hand, for the kinds that cv2.imencode does not make."""
    import zlib

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


# How a stored image is turned so that it is seen upright, per EXIF orientation.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(photo, orientation):
    jpeg = with_exif_orientation(encode(photo, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 98), orientation)
    upright = decode_image(jpeg)
    expected = UPRIGHT[orientation](photo)
    assert upright.shape == expected.shape
    assert np.abs(upright.astype(int) - expected).max() < 12
    stored = decode_image(jpeg, apply_exif=False)
    assert stored.shape == photo.shape
    assert np.abs(stored.astype(int) - photo).max() < 12


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_orientation_in_the_header(photo, byte_order):
    jpeg = encode(photo, ".jpg")
    for orientation in (*UPRIGHT, 0, 9):
        header = read_header(with_exif_orientation(jpeg, orientation, byte_order))
        known = orientation if orientation in UPRIGHT else 1
        assert header == ImageHeader("JPEG", (40, 64), known)
        assert header.upright_hw == ((64, 40) if known >= 5 else (40, 64))


def test_orientation_agrees_with_opencv(photo):
    for orientation in UPRIGHT:
        jpeg = np.frombuffer(with_exif_orientation(encode(photo, ".jpg"), orientation), np.uint8)
        theirs = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1]
        np.testing.assert_array_equal(decode_image(jpeg.tobytes()), theirs)


def test_damaged_exif_means_upright(photo):
    jpeg = encode(photo, ".jpg")
    whole = with_exif_orientation(jpeg, 6)
    for damage in (b"II*\x00" + bytes(4), b"XX*\x00", b"II+\x00", b"II*\x00\xff\xff\x00\x00"):
        start = whole.index(b"II*")
        damaged = whole[:start] + damage + whole[start + len(damage) :]
        assert read_header(damaged).orientation == 1
        assert decode_image(damaged).shape == photo.shape
    empty = jpeg[:2] + b"\xff\xe1\x00\x08Exif\x00\x00" + jpeg[2:]
    assert read_header(empty).orientation == 1


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_jpeg_at_a_fraction_of_its_size(reduction, orientation):
    """Close to the mean of each square of pixels; sides are rounded up."""
    y, x = np.mgrid[0:67, 0:93]
    photo = np.stack([x + 60, 2 * y + 40, 200 - x], axis=2).astype(np.uint8)
    jpeg = with_exif_orientation(encode(photo, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 98), orientation)
    small = decode_bytes(jpeg, "x.jpg", orientation, reduction)
    height, width = -(-67 // reduction), -(-93 // reduction)
    upright = UPRIGHT[orientation](photo)
    assert small.shape[:2] == ((height, width) if orientation == 1 else (width, height))
    inside = (slice(0, upright.shape[0] // reduction), slice(0, upright.shape[1] // reduction))
    whole = upright[: inside[0].stop * reduction, : inside[1].stop * reduction]
    means = cv2.resize(whole, (inside[1].stop, inside[0].stop), interpolation=cv2.INTER_AREA)
    # Turned images start from the other end: their squares are cut off where others begin.
    slack = 3 if orientation == 1 else 3 + 2 * reduction
    assert np.abs(small[inside].astype(int) - means).max() <= slack


def test_rgb_order_and_path(photo, tmp_path):
    path = tmp_path / "an image.png"
    path.write_bytes(encode(photo))
    np.testing.assert_array_equal(decode_image(path), photo)
    np.testing.assert_array_equal(decode_image(str(path)), photo)


def test_older_opencv_without_rgb_flag(photo, monkeypatch):
    monkeypatch.setattr(image_ops, "_READ_RGB", None)
    np.testing.assert_array_equal(decode_image(encode(photo)), photo)


def test_gray_becomes_three_channels(photo):
    gray = photo[..., 0]
    ok, data = cv2.imencode(".png", gray)
    np.testing.assert_array_equal(decode_image(data.tobytes()), np.repeat(gray[..., None], 3, 2))


def test_alpha_is_dropped(photo):
    alpha = np.zeros((*photo.shape[:2], 1), np.uint8)
    ok, data = cv2.imencode(".png", np.concatenate([photo[..., ::-1], alpha], axis=2))
    np.testing.assert_array_equal(decode_image(data.tobytes()), photo)


def test_gray_with_alpha():
    rows = b"\x00" + bytes([10, 255, 200, 0])  # two pixels: gray, alpha
    image = decode_image(png(2, 1, 8, 4, rows))
    np.testing.assert_array_equal(image, [[[10, 10, 10], [200, 200, 200]]])


def test_16_bit_keeps_the_upper_byte(photo):
    deep = photo.astype(np.uint16) * 256 + 77
    ok, data = cv2.imencode(".png", deep[..., ::-1])
    np.testing.assert_array_equal(decode_image(data.tobytes()), photo)
    ok, data = cv2.imencode(".png", deep[..., 1])
    np.testing.assert_array_equal(decode_image(data.tobytes())[..., 0], photo[..., 1])


def test_one_pixel_image():
    np.testing.assert_array_equal(
        decode_image(encode(np.full((1, 1, 3), 9, np.uint8))), np.full((1, 1, 3), 9)
    )


def test_missing_file(tmp_path):
    path = tmp_path / "none.jpg"
    with pytest.raises(ImageError, match=r"none\.jpg: cannot be read"):
        decode_image(path)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.jpg"
    path.write_bytes(b"")
    with pytest.raises(ImageError, match=r"empty\.jpg: the file is empty"):
        decode_image(path)


def test_truncated_jpeg(photo, tmp_path):
    jpeg = encode(photo, ".jpg")
    path = tmp_path / "cut.jpg"
    for keep in (len(jpeg) * 9 // 10, 30):
        path.write_bytes(jpeg[:keep])
        with pytest.raises(ImageError, match=r"cut\.jpg: .*cut short"):
            decode_image(path)


def test_thumbnail_does_not_hide_a_truncated_jpeg(photo):
    jpeg = encode(photo, ".jpg")
    small = encode(photo[::4, ::4].copy(), ".jpg")
    thumbnail = b"\xff\xe1" + struct.pack(">H", len(small) + 8) + b"Exif\x00\x00" + small
    whole = jpeg[:2] + thumbnail + jpeg[2:]
    assert decode_image(whole).shape == photo.shape
    with pytest.raises(ImageError, match="cut short"):
        decode_image(whole[: len(whole) - 20])


def test_bytes_after_the_end_of_a_jpeg_are_fine(photo):
    assert decode_image(encode(photo, ".jpg") + b"trailing rubbish").shape == photo.shape


def test_truncated_png(photo):
    data = encode(photo)
    with pytest.raises(ImageError, match=r"^p\.png: a damaged PNG file .cut short"):
        decode_image(data[: len(data) // 4], name="p.png")


def test_not_an_image():
    with pytest.raises(ImageError, match=r"^notes\.jpg: not an image"):
        decode_image(b"hello, I am text", name="notes.jpg")


def test_resize_to_exact_size(photo):
    resized, scale = resize(photo, (20, 128), keep_ratio=False, interp=1)
    np.testing.assert_array_equal(resized, cv2.resize(photo, (128, 20)))
    assert scale == (0.5, 2.0)


def test_resize_keeps_the_ratio_inside_any_target(photo):
    resized, scale = resize(photo, (80, 80), keep_ratio=True)
    assert resized.shape[:2] == (50, 80)
    assert scale == (1.25, 1.25)
    portrait = photo.transpose(1, 0, 2).copy()  # 64 high, 40 wide, into a wide target
    resized, scale = resize(portrait, (32, 200), keep_ratio=True)
    assert resized.shape[:2] == (32, 20)
    odd = np.zeros((33, 100, 3), np.uint8)  # 26.4 rows: the image gets 26, and so says the scale
    resized, scale = resize(odd, (80, 80), keep_ratio=True)
    assert resized.shape[:2] == (26, 80) and scale == (26 / 33, 0.8)
    thin = np.zeros((1, 500, 3), np.uint8)
    assert resize(thin, (32, 32), keep_ratio=True)[0].shape[:2] == (1, 32)


def test_normalize_by_hand():
    image = np.array([[[0, 128, 255]]], np.uint8)
    result = Normalizer()(image)
    assert result.dtype == np.float32
    by_hand = [
        (0 - 0.485) / 0.229,
        (128 / 255 - 0.456) / 0.224,
        (1 - 0.406) / 0.225,
    ]
    np.testing.assert_allclose(result[:, 0, 0], by_hand, rtol=1e-6)
    unscaled = Normalizer((100, 100, 100), (2, 2, 2), is_scale=False)(image)
    np.testing.assert_allclose(unscaled[:, 0, 0], [-50, 14, 77.5])


def test_normalizer_of_flat_falling_and_random_images():
    rng = np.random.default_rng(0)
    for normalizer in (Normalizer(), Normalizer(std=(0.2, -0.2, 1e-3)), Normalizer.identity()):
        for image in (np.full((5, 7, 3), 200, np.uint8), rng.integers(0, 256, (9, 8, 3))):
            image = image.astype(np.uint8)
            expected = np.stack([normalizer.table[c][image[..., c]] for c in range(3)])
            np.testing.assert_allclose(normalizer(image), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("interp", range(4))
def test_one_side_that_stays_gives_the_pixels_of_opencv(interp):
    """Rows of unchanged width are read as four channels; with cubic interpolation, images of
    unchanged height are laid on their side, which rounds some halves the other way.
    """
    rng = np.random.default_rng(interp)
    values = different = 0
    for _ in range(30):
        side, old, new = (int(rng.integers(8, 60)) * 4, *(int(v) for v in rng.integers(32, 300, 2)))
        for (h, w), target in (((old, side), (new, side)), ((side, old), (side, new))):
            image = cv2.resize(rng.integers(0, 256, (h // 4, w // 4, 3), dtype=np.uint8), (w, h))
            theirs = cv2.resize(image, target[::-1], interpolation=INTERPOLATIONS[interp])
            out = np.zeros((target[0], target[1] + 3, 3), np.uint8)
            for ours in (
                resize(image, target, interp=interp)[0],
                resize_exact(image, target, interp, np.zeros_like(theirs)),
                resize_exact(image, target, interp, out[:, 3:]),
            ):
                difference = np.abs(ours.astype(int) - theirs)
                assert difference.max() <= 1
                different += np.count_nonzero(difference)
                values += difference.size
            assert not out[:, :3].any()
    share = 0.05 if interp in IN_FLOATS else 1e-4 if interp == 2 else 0
    assert different <= values * share


def test_lanczos_differs_from_opencv_by_one_level_at_most(photo):
    noise = np.random.default_rng(0).integers(0, 256, (50, 60, 3)).astype(np.uint8)
    for image in (photo, noise):
        ours, _ = resize(image, (77, 35), interp=4)
        theirs = cv2.resize(image, (35, 77), interpolation=cv2.INTER_LANCZOS4)
        difference = np.abs(ours.astype(int) - theirs)
        assert difference.max() <= 1
        assert difference.mean() < 0.1


def test_normalizer_refuses_other_images():
    with pytest.raises(ValueError, match=r"expected a uint8 image \[H, W, 3\], got float32"):
        Normalizer()(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ConfigError, match="^std: found .1, 0, 1., allowed: "):
        Normalizer(std=(1, 0, 1))
    with pytest.raises(ConfigError, match="^norm_type: found 'minmax', allowed: "):
        Normalizer(norm_type="minmax")


def test_pad(photo):
    padded = pad(photo, (50, 70), (1.4, 2.5, 300))
    np.testing.assert_array_equal(padded[:40, :64], photo)
    np.testing.assert_array_equal(padded[40:].reshape(-1, 3), np.tile([1, 3, 255], (700, 1)))
    with pytest.raises(ImageError, match="64x40 does not fit into 60x50"):
        pad(photo, (50, 60))


def test_fill_color_is_rounded():
    np.testing.assert_array_equal(fill_to_uint8([123.675, 116.28, 103.53]), [124, 116, 104])
    np.testing.assert_array_equal(fill_to_uint8(114.0), [114, 114, 114])
