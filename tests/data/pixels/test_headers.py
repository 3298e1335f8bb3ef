"""Headers of all formats: sizes, what is refused before a decoder is called, and its memory."""

import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import ImageError
from ppdet_lite.data.pixels.headers import read_header
from ppdet_lite.data.pixels.image_ops import decode_image

Y, X = np.mgrid[0:40, 0:64]
PHOTO = np.stack([2 * X + 60, 4 * Y + 40, 200 - 2 * X], axis=2).astype(np.uint8)


def encoded(ending, image=PHOTO, *options):
    done, data = cv2.imencode(ending, image, options)
    assert done
    return data.tobytes()


def png(width, height, more=b""):
    def chunk(name, content):
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def tiff(width, height, *more, order="<"):
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 4, 1, 8), (277, 4, 1, 1), *more]
    mark = b"II*\0" if order == "<" else b"MM\0*"
    content = b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
    return mark + struct.pack(order + "IH", 8, len(entries)) + content + bytes(4)


def box(name, content):
    return struct.pack(">I4s", 8 + len(content), name) + content


def avif(width, height):
    size = box(b"ispe", struct.pack(">III", 0, width, height))
    parts = box(b"iprp", box(b"ipco", size))
    return box(b"ftyp", b"avif" + bytes(4)) + box(b"meta", bytes(4) + parts)


def jpeg_2000(width, height, tile=2**31, channels=3):
    size = struct.pack(">8IHBBB", width, height, 0, 0, tile, tile, 0, 0, channels, 7, 1, 1)
    return b"\xff\x4f\xff\x51" + struct.pack(">HH", 38 + 3 * channels, 0) + size


SIDES = struct.pack("<HH", 60000, 60000)
BOMBS = {
    "JPEG": b"\xff\xd8\xff\xc0\x00\x11\x08\xea\x60\xea\x60" + bytes(10) + b"\xff\xda\0\0\xff\xd9",
    "PNG": png(60000, 60000),
    "BMP": b"BM" + bytes(12) + struct.pack("<Iii", 40, 60000, -60000) + bytes(28),
    "GIF": b"GIF89a" + SIDES + bytes(3) + b"," + bytes(4) + SIDES + b"\0\2\2\x4c\1\0;",
    "TIFF": tiff(60000, 60000),
    "big TIFF": b"II+\0\x08\0\0\0\x10" + bytes(7) + struct.pack("<Q", 2)
    + struct.pack("<HHQQ", 256, 4, 1, 60000) + struct.pack("<HHQQ", 257, 4, 1, 60000),
    "WebP": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x5f\xea\0\x5f\xea\0",
    "AVIF": avif(60000, 60000),
    "JPEG 2000": jpeg_2000(60000, 60000),
    "JP2": b"\0\0\0\x0cjP  \r\n\x87\n" + box(b"jp2c", jpeg_2000(60000, 60000)),
    "PBM": b"P4\n# a comment 3 4\n60000 60000\n",
    "PPM": b"P6 60000 60000 255\n",
    "PAM": b"P7\nWIDTH 60000\nHEIGHT 60000\nDEPTH 3\nMAXVAL 255\nENDHDR\n",
    "PFM": b"PF\n60000 60000\n-1.0\n",
    "HDR": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 60000 +X 60000\n",
    "Sun raster": struct.pack(">8I", 0x59A66A95, 60000, 60000, 24, 0, 1, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_a_decompression_bomb_is_refused_by_its_header(kind):
    assert len(BOMBS[kind]) < 120
    with pytest.raises(ImageError, match="^a: 60000x60000 = 3600000000 pixels, more than the lim"):
        decode_image(BOMBS[kind], name="a")


@pytest.mark.parametrize("kind", BOMBS)
def test_reading_a_header_takes_little_memory(kind):
    """At most 70 kB in CPython (HDR reads as much), 2 kB in most formats."""
    data = BOMBS[kind] + bytes(3_000_000)
    tracemalloc.start()
    read_header(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


LONG_CHUNK = png(9, 9)[:33] + struct.pack(">I", 0xEFFFFFFF) + b"zTXt"
FRAME = struct.pack(">I4s7I", 26, b"fcTL", 0, 60000, 60000, 0, 0, 0, 0)[:34] + bytes(4)


@pytest.mark.parametrize(
    "data, problem",
    [
        (LONG_CHUNK, "a damaged PNG file .cut short, in the chunk 'zTXt'"),
        (png(9, 9, FRAME), "a damaged PNG file .a frame larger than the image"),
        (tiff(9, 9, (322, 4, 1, 99999), (323, 4, 1, 99999)), "TIFF file .tiles of 99999x99999"),
        (tiff(9, 9, (277, 4, 1, 60000)), "a damaged TIFF file .60000 bytes per pixel"),
        (jpeg_2000(60, 60, tile=0), "a damaged JPEG 2000 file .empty tiles"),
        (jpeg_2000(9000, 9000, tile=9, channels=3), "JPEG 2000 file .1000000 tiles of 3 channels"),
        (
            b"\xff\xd8\xff\xc0\0\x11\x08\x0b\xb8\x0b\xb8" + bytes(10) + b"\xff\xda\0\0\xff\xd9",
            "27 bytes hold no",
        ),
        (encoded(".webp")[:60], "a damaged WebP file .cut short"),
        *(
            [(encoded(".avif")[:200], "a damaged AVIF file .cut short")]
            if cv2.haveImageWriter("a.avif")
            else []
        ),
        (png(0, 9), "a damaged PNG file .its header gives 0x9 pixels"),
        (b"BM" + bytes(9), "a damaged BMP file .its header is cut short"),
        (b"P7\nWIDTH 9\nHEIGHT 9\nDEPTH 4\nMAXVAL 255\nENDHDR\n", "PNM file .4 channels"),
        (b"P6\n# no numbers", "a damaged PNM file .its header is no list of numbers"),
        (b"P6\n6x4 3\n255\n", "a damaged PNM file .its header is no list of numbers"),
        (b"\xff\xd8\xff", "a damaged JPEG file .cut short, the pixels are missing"),
        (b"v/1\x01" + bytes(50), "a file in the format OpenEXR; images may be JPEG, PNG, "),
        (b"\0\0\0\x18ftypheic" + bytes(50), "a file in the format HEIF; images may be "),
        (b" <html>not found", "a file in the format SVG or HTML; images may be "),
        (b"some text", "not an image; images may be JPEG, PNG, BMP, GIF, TIFF, WebP, AVIF, "),
    ],
)
def test_files_that_no_decoder_gets(data, problem):
    assert read_header(data).problem
    with pytest.raises(ImageError, match=f"^a: .*{problem}"):
        decode_image(data, name="a")


ENDINGS = ".jpg .png .bmp .tiff .webp .ppm .ras .jp2 .avif .gif".split()


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_bytes_tell_the_format_and_the_size(ending, tmp_path):
    try:
        data = encoded(ending)
    except (cv2.error, AssertionError):
        pytest.skip(f"this OpenCV does not write {ending}")
    header = read_header(data)
    assert (header.size_hw, header.problem, header.is_deep) == ((40, 64), "", False)
    (tmp_path / "a.txt").write_bytes(data)
    image = decode_image(tmp_path / "a.txt")
    assert np.abs(image[..., ::-1].astype(int) - PHOTO).mean() < (20 if ending == ".gif" else 6)
    limit = 2559 // {".gif": 4, ".avif": 3}.get(ending, 1)
    with pytest.raises(ImageError, match=f"64x40 = 2560 pixels, more than the limit of {limit}"):
        decode_image(data, max_pixels=2559)


@pytest.mark.parametrize("ending", [".png", ".tiff", ".jp2"])
def test_16_bits_are_known(ending):
    assert read_header(encoded(ending, PHOTO.astype(np.uint16) * 257)).is_deep
    assert read_header(b"P5\n9 9\n65535\n" + bytes(162)).is_deep
    assert read_header(tiff(9, 9, (258, 3, 1, 16), order=">")).size_hw == (9, 9)


def test_several_scans_of_a_jpeg_are_seen_in_its_header():
    one_scan = encoded(".jpg")
    assert not read_header(one_scan).is_in_scans
    assert read_header(encoded(".jpg", PHOTO, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)).is_in_scans
    channels = one_scan.rfind(b"\xff\xda") + 4
    assert read_header(one_scan[:channels] + b"\x01" + one_scan[channels + 1 :]).is_in_scans


def test_a_jpeg_of_many_scans_is_refused():
    data = encoded(".jpg", PHOTO, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last = data[data.rfind(b"\xff\xda") : -2]
    assert decode_image(data[:-2] + last * 20 + b"\xff\xd9").shape == PHOTO.shape
    with pytest.raises(ImageError, match="^a: a JPEG of 3010 scans, allowed: at most 100"):
        decode_image(data[:-2] + last * 3000 + b"\xff\xd9", name="a")


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
def test_a_jpeg_that_lacks_only_its_end_marker_is_read(options):
    data = encoded(".jpg", PHOTO, *options)
    for cut in (1, 2):
        assert read_header(data[:-cut]).is_cut
        np.testing.assert_array_equal(decode_image(data[:-cut]), decode_image(data))
    for cut in (12, 30, len(data) // 4):
        with pytest.raises(ImageError, match="the JPEG is cut short|damaged"):
            decode_image(data[:-cut])


def test_fill_bytes_and_segments_take_little_time():
    """Three megabytes of either; both files are fine."""
    data = encoded(".jpg")
    for filler in (b"\xff" * 3_000_000, b"\xff\xe2\xff\xfe" + bytes(65532)):
        more = filler * (1 if len(filler) > 10**6 else 45)
        assert read_header(data[:2] + more + data[2:]).size_hw == (40, 64)
