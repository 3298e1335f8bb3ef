"""The first bytes of an image file: its format, its size, how it is to be turned, if it is whole.

Read from the bytes, whatever the file is called, so that an image that is too large is refused
before a decoder takes memory for it.
"""

import mmap
import re
import struct
from typing import Callable, Iterator, NamedTuple, Optional, Union

import numpy as np

from ppdet_lite.core.errors import ImageError

SizeHW = tuple[int, int]
"""(height, width) of an image."""

Buffer = Union[bytes, mmap.mmap]

MAX_PIXELS = 178_956_970
"""Images with more pixels are refused before they are decoded (about 0.5 GB as RGB)."""

_MAX_SCANS = 100
"""JPEG files with more scans are refused: each costs a pass over the whole image."""

_JPEG_PIXELS_PER_BYTE = 1024  # at least one bit for every 8 x 8 pixels, and some slack
_COSTS = {"AVIF": 3, "GIF": 4}  # memory that decoders take per pixel, compared with the others

_PNM = re.compile(rb"P[1-6Ff]\s+(\d{1,9})\s+(\d{1,9})(?:\s+(\d{1,9}))?\s")
_FILL = re.compile(rb"\xff+")
_JPEG_END = b"\xff\xd9"
_ORIENTATION_TAG, _EXIF = 0x0112, b"Exif\x00\x00"


class ImageHeader(NamedTuple):
    """Header of an image file.

    Attributes:
        kind: format; "" for one that is not read here.
        size_hw: (height, width) as stored, before any rotation.
        orientation: EXIF orientation 1 to 8; 1 is upright, or not given; 0 where it is up to the
            decoder (other formats than JPEG and WebP).
        is_cut: a JPEG without an end marker.
        is_in_scans: a JPEG whose pixels come in several passes.
        is_deep: channels have more than 8 bits.
        problem: the reason why the file cannot be decoded, "" for none known.
    """

    kind: str = ""
    size_hw: SizeHW = (0, 0)
    orientation: int = 1
    is_cut: bool = False
    is_deep: bool = False
    is_in_scans: bool = False
    problem: str = ""

    @property
    def is_jpeg(self) -> bool:
        return self.kind == "JPEG"

    @property
    def upright_hw(self) -> SizeHW:
        """(height, width) after the rotation that EXIF asks for."""
        return self.size_hw if self.orientation < 5 else self.size_hw[::-1]


class _Damaged(Exception):
    """A header that no decoder should see, with the reason."""


def read_header(data: Buffer) -> ImageHeader:
    """The header of the image file with the content `data`."""
    start = bytes(data[:32])
    for kind, (mark, read) in _FORMATS.items():
        if re.match(mark, start, re.DOTALL):
            try:
                header = read(data)
            except _Damaged as error:
                return ImageHeader(kind, problem=f"a damaged {kind} file ({error})")
            except (struct.error, ValueError, IndexError):
                return ImageHeader(kind, problem=f"a damaged {kind} file (its header is cut short)")
            if min(header.size_hw) < 1:
                height, width = header.size_hw
                problem = f"a damaged {kind} file (its header gives {width}x{height} pixels)"
                return header._replace(kind=kind, problem=problem)
            return header._replace(kind=kind)
    known = ", ".join(_FORMATS)
    other = next((name for name, mark in _OTHERS.items() if re.match(mark, start, re.DOTALL)), "")
    found = f"a file in the format {other}" if other else "not an image"
    return ImageHeader(problem=f"{found}; images may be {known}")


def check_header(header: ImageHeader, name: str, max_pixels: int = MAX_PIXELS) -> None:
    """An ImageError where the header forbids to decode the image."""
    height, width = header.size_hw
    limit = max_pixels // _COSTS.get(header.kind, 1)
    if height * width > limit:
        found = f"{width}x{height} = {height * width} pixels"
        raise ImageError(f"{name}: {found}, more than the limit of {limit}")
    if header.problem:
        raise ImageError(f"{name}: {header.problem}")


def check_scans(data: bytes, name: str) -> None:
    """An ImageError about a JPEG with so many scans that decoding would take minutes."""
    # As 16-bit numbers at even and odd places: 20 times as fast as `bytes.count`.
    pairs = (np.frombuffer(data, "<u2", (len(data) - at) // 2, at) for at in (0, 1))
    if (scans := sum(np.count_nonzero(pair == 0xDAFF) for pair in pairs)) > _MAX_SCANS:
        raise ImageError(f"{name}: a JPEG of {scans} scans, allowed: at most {_MAX_SCANS}")


def _need(condition: bool, reason: str) -> None:
    if not condition:
        raise _Damaged(reason)


def _jpeg(data: Buffer) -> ImageHeader:
    """Reads the segments up to the first start of scan.

    The file is cut when no end marker follows there; an EXIF thumbnail before it has its own.
    """
    size_hw, bits, orientation, frame, channels = None, 8, None, 0xC0, 0
    position, last = 2, len(data) - 4
    while position <= last and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill bytes
            fill = _FILL.match(data, position)
            position = fill.end() - 1 if fill else last
            continue
        if marker == 0xDA:  # start of scan
            _need(size_hw is not None, "the frame is missing")
            assert size_hw is not None
            is_cut = data.rfind(_JPEG_END) < position
            problem = ""
            if frame < 0xC8 and size_hw[0] * size_hw[1] > _JPEG_PIXELS_PER_BYTE * len(data):
                problem = (
                    f"a damaged JPEG file ({len(data)} bytes hold no {size_hw[1]}x{size_hw[0]})"
                )
            is_progressive = frame & 3 == 2
            is_in_scans = is_progressive or data[position + 4] < channels
            ways = orientation or 1, is_cut, bits > 8, is_in_scans
            return ImageHeader("", size_hw, *ways, problem)
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without content
            position += 2
            continue
        length = (data[position + 2] << 8) + data[position + 3]
        is_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if is_frame and size_hw is None:
            bits, *sides, channels = struct.unpack(">BHHB", data[position + 4 : position + 10])
            size_hw, frame = (sides[0], sides[1]), marker
        elif marker == 0xE1 and orientation is None:
            orientation = _exif_orientation(bytes(data[position + 4 : position + 2 + length]))
        position += 2 + length
    raise _Damaged("cut short, the pixels are missing")


def _exif_orientation(content: bytes) -> Optional[int]:
    """The orientation in an APP1 segment, None without (CIPA DC-008, TIFF 6.0)."""
    if content[:6] != _EXIF or len(content) < 14:
        return None
    try:
        values = _tiff_values(content[6:], (_ORIENTATION_TAG,))
    except (_Damaged, struct.error):
        return None
    value = values.get(_ORIENTATION_TAG, 1)
    return value if 1 <= value <= 8 else None


def _tiff_values(data: Buffer, tags: tuple[int, ...]) -> dict[int, int]:
    """Tag -> first value, of whole numbers in the first directory of a TIFF file."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]), "")
    _need(bool(order), "no byte order")
    big = struct.unpack(order + "H", data[2:4])[0] == 43
    start = struct.unpack(order + ("Q" if big else "I"), data[8:16] if big else data[4:8])[0]
    head, size, inline = ("Q", 20, "HHQ") if big else ("H", 12, "HHI")
    skip = struct.calcsize(order + head)
    count = struct.unpack(order + head, data[start : start + skip])[0]
    values = {}
    for entry in range(start + skip, start + skip + size * min(count, 4096), size):
        field = data[entry : entry + size]
        if len(field) < size:
            break
        tag, kind, number = struct.unpack_from(order + inline, field)
        form = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(kind)
        if tag in tags and form and number:
            at = struct.calcsize(order + inline)
            width = struct.calcsize(order + form)
            if number * width > size - at:  # the values lie elsewhere
                where = struct.unpack_from(order + ("Q" if big else "I"), field, at)[0]
                field, at = data[where : where + width], 0
            values[tag] = struct.unpack_from(order + form, field, at)[0]
    return values


def _tiff(data: Buffer) -> ImageHeader:
    """Tiles and strips are bounded as well: a decoder takes memory for a whole one."""
    width, height, bits, samples = 256, 257, 258, 277
    sides = (322, 323)
    values = _tiff_values(data, (width, height, bits, samples, _ORIENTATION_TAG, *sides))
    _need(width in values and height in values, "the size is missing")
    size_hw = (values[height], values[width])
    tile = [values.get(tag, 1) for tag in sides]
    pixel_bytes = values.get(samples, 1) * values.get(bits, 1) / 8
    _need(pixel_bytes <= 32, f"{pixel_bytes:.0f} bytes per pixel")
    _need(tile[0] * tile[1] <= MAX_PIXELS, f"tiles of {tile[0]}x{tile[1]} pixels")
    turned = values.get(_ORIENTATION_TAG, 1) != 1
    return ImageHeader("", size_hw, 1 - turned, is_deep=values.get(bits, 1) > 8)


def _png(data: Buffer) -> ImageHeader:
    """All chunks must lie inside the file, and the frames of an animation inside the image."""
    width, height, depth = struct.unpack(">IIB", data[16:25])
    _need(data[12:16] == b"IHDR", "IHDR must come first")
    position, orientation = 8, 1
    while position + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[position : position + 8])
        text = name.decode("latin-1")
        _need(position + 12 + length <= len(data), f"cut short, in the chunk {text!a}")
        if name == b"fcTL":
            frame = struct.unpack(">II", data[position + 12 : position + 20])
            _need(frame[0] <= width and frame[1] <= height, "a frame larger than the image")
        if name == b"eXIf":
            orientation = 0
        if name == b"IEND":
            break
        position += 12 + length
    return ImageHeader("", (height, width), orientation, is_deep=depth > 8)


def _bmp(data: Buffer) -> ImageHeader:
    if struct.unpack("<I", data[14:18])[0] == 12:
        width, height = struct.unpack("<HH", data[18:22])
    else:
        width, height = struct.unpack("<ii", data[18:26])
    return ImageHeader("", (abs(height), abs(width)))


def _gif(data: Buffer) -> ImageHeader:
    width, height = struct.unpack("<HH", data[6:10])
    return ImageHeader("", (height, width))


def _webp(data: Buffer) -> ImageHeader:
    kind = data[12:16]
    _need(struct.unpack("<I", data[4:8])[0] + 8 <= len(data), "cut short")
    if kind == b"VP8X":
        width = 1 + int.from_bytes(data[24:27], "little")
        orientation = _webp_orientation(data) if data[20] & 8 else 1
        height = 1 + int.from_bytes(data[27:30], "little")
        return ImageHeader("", (height, width), orientation)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return ImageHeader("", (height & 0x3FFF, width & 0x3FFF))
    _need(kind == b"VP8L", f"unknown part {bytes(kind)!r}")
    bits = int.from_bytes(data[21:25], "little")
    return ImageHeader("", (1 + ((bits >> 14) & 0x3FFF), 1 + (bits & 0x3FFF)))


def _webp_orientation(data: Buffer) -> int:
    """That of the EXIF chunk, which OpenCV up to 4.11 does not know; 1 without."""
    position = 12
    while position + 8 <= len(data):
        name, (length,) = (
            data[position : position + 4],
            struct.unpack_from("<I", data, position + 4),
        )
        if name == b"EXIF":
            content = bytes(data[position + 8 : position + 8 + length])
            prefix = b"" if content[:6] == _EXIF else _EXIF
            return _exif_orientation(prefix + content) or 1
        position += 8 + length + length % 2
    return 1


def _boxes(data: Buffer, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of the content of the boxes of an ISO media file (ISO 14496-12)."""
    while start + 8 <= end:
        length, name = struct.unpack(">I4s", data[start : start + 8])
        content = start + 8
        if length == 1:
            length, content = struct.unpack(">Q", data[start + 8 : start + 16])[0], start + 16
        length = length or end - start
        _need(start + length <= end and length >= content - start, f"cut short, in {name!r}")
        yield name, content, start + length
        start += length


def _avif(data: Buffer) -> ImageHeader:
    """The largest of the images inside (thumbnails, parts of a grid, frames)."""
    sizes, depth, orientation, pending = [], 8, 1, [(0, len(data))]
    while pending:
        for name, begin, end in _boxes(data, *pending.pop()):
            if name in (b"iprp", b"ipco", b"moov", b"trak"):
                pending.append((begin, end))
            elif name == b"meta":
                pending.append((begin + 4, end))
            elif name == b"ispe":
                sizes.append(struct.unpack(">II", data[begin + 4 : begin + 12]))
            elif name == b"tkhd":
                sizes.append(struct.unpack(">II", data[end - 8 : end]))
                sizes[-1] = (sizes[-1][0] >> 16, sizes[-1][1] >> 16)
            elif name == b"pixi":
                depth = max(depth, *data[begin + 5 : end])
            elif name in (b"irot", b"imir"):
                orientation = 0
    _need(bool(sizes), "the size is missing")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return ImageHeader("", (height, width), orientation, is_deep=depth > 8)


def _jpeg_2000(data: Buffer) -> ImageHeader:
    """Every tile and channel costs memory of its own."""
    start = 0
    if data[:4] != b"\xff\x4f\xff\x51":
        found = (begin for name, begin, _ in _boxes(data, 0, len(data)) if name == b"jp2c")
        start = next(found, len(data))
    right, bottom, left, top, *tile = struct.unpack(">8I", data[start + 8 : start + 40])
    channels, bits = struct.unpack(">HB", data[start + 40 : start + 43])
    _need(min(tile[:2]) > 0 and channels > 0, "empty tiles")
    tiles = -(-(right - tile[2]) // tile[0]) * -(-(bottom - tile[3]) // tile[1])
    _need(tiles * channels <= 65536, f"{tiles} tiles of {channels} channels")
    return ImageHeader("", (bottom - top, right - left), is_deep=(bits & 0x7F) + 1 > 8)


def _pnm(data: Buffer) -> ImageHeader:
    """PBM, PGM, PPM, PAM and PFM: numbers in text, with comments."""
    text = re.sub(rb"#[^\n]*", b"", bytes(data[:4096]))
    if text[:2] == b"P7":
        fields = dict(re.findall(rb"\b(WIDTH|HEIGHT|DEPTH|MAXVAL)\s+(\d+)", text))
        _need(len(fields) == 4, "WIDTH, HEIGHT, DEPTH or MAXVAL is missing")
        names = (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
        width, height, depth, top = (int(fields[name]) for name in names)
        _need(depth in (1, 3), f"{depth} channels, which OpenCV mixes up")
        return ImageHeader("", (height, width), is_deep=top > 255)
    found = _PNM.match(text)
    _need(found is not None, "its header is no list of numbers")
    assert found is not None
    is_deep = text[:2] in (b"P2", b"P3", b"P5", b"P6") and int(found[3] or 0) > 255
    return ImageHeader("", (int(found[2]), int(found[1])), is_deep=is_deep)


def _hdr(data: Buffer) -> ImageHeader:
    found = re.search(rb"\n([-+][XY]) (\d{1,9}) ([-+][XY]) (\d{1,9})\s", bytes(data[:65536]))
    _need(found is not None, "the size is missing")
    assert found is not None
    return ImageHeader("", (int(found[2]), int(found[4])))


def _sun(data: Buffer) -> ImageHeader:
    width, height = struct.unpack(">II", data[4:12])
    return ImageHeader("", (height, width))


_FORMATS: dict[str, tuple[bytes, Callable[[Buffer], ImageHeader]]] = {
    "JPEG": (rb"\xff\xd8\xff", _jpeg),
    "PNG": (rb"\x89PNG\r\n\x1a\n", _png),
    "BMP": (rb"BM", _bmp),
    "GIF": (rb"GIF8[79]a", _gif),
    "TIFF": (rb"II[*+]\x00|MM\x00[*+]", _tiff),
    "WebP": (rb"RIFF....WEBP", _webp),
    "AVIF": (rb"....ftyp(avif|avis|mif1|miaf)", _avif),
    "JPEG 2000": (rb"\x00{3}\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", _jpeg_2000),
    "PNM": (rb"P[1-7Ff]\s", _pnm),
    "HDR": (rb"#\?(RADIANCE|RGBE)", _hdr),
    "Sun raster": (rb"\x59\xa6\x6a\x95", _sun),
}
"""Format -> the bytes that it begins with, and the reader of its header."""

_OTHERS = {
    "OpenEXR": rb"v/1\x01",
    "HEIF": rb"....ftyp",
    "JPEG XL": rb"\xff\x0a|\x00{3}\x0cJXL ",
    "Photoshop": rb"8BPS",
    "SVG or HTML": rb"\s*<",
    "PDF": rb"%PDF",
    "ZIP": rb"PK",
}
