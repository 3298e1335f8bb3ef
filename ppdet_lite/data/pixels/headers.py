"""The first bytes of an image file: its size, how it is to be turned, if it is cut short."""

import struct
from typing import NamedTuple, Optional

SizeHW = tuple[int, int]
"""(height, width) of an image."""

MAX_PIXELS = 178_956_970
"""Images with more pixels are refused before they are decoded (about 0.5 GB as RGB)."""

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_ORIENTATION_TAG = 0x0112


class ImageHeader(NamedTuple):
    """Header of a JPEG, PNG, BMP or WebP file.

    Attributes:
        size_hw: (height, width) as stored, before any rotation; None when unknown.
        is_jpeg: the file is a JPEG; the fields below are only read there.
        orientation: EXIF orientation 1 to 8; 1 is upright, or not given.
        is_cut: the scan data has no end marker.
    """

    size_hw: Optional[SizeHW] = None
    is_jpeg: bool = False
    orientation: int = 1
    is_cut: bool = False

    @property
    def upright_hw(self) -> Optional[SizeHW]:
        """(height, width) after the rotation that EXIF asks for."""
        if self.size_hw is None or self.orientation < 5:
            return self.size_hw
        height, width = self.size_hw
        return width, height


def read_header(data: bytes) -> ImageHeader:
    """The header of the image file with the content `data`; unknown formats give an empty one."""
    if data[:2] == _JPEG_START:
        return _jpeg_header(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return ImageHeader((height, width))
    if data[:2] == b"BM" and len(data) >= 26:
        width, height = struct.unpack("<ii", data[18:26])
        return ImageHeader((abs(height), abs(width)))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        return ImageHeader(_webp_size(data))
    return ImageHeader()


def _jpeg_header(data: bytes) -> ImageHeader:
    """Reads the segments up to the first start of scan.

    The file is cut when no end marker follows there; an EXIF thumbnail before it has its own.
    """
    size_hw, orientation, is_cut = None, None, True
    position, last = 2, len(data) - 4
    while position <= last and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0xDA:  # start of scan
            is_cut = data.rfind(_JPEG_END) < position
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without content
            position += 2
            continue
        length = (data[position + 2] << 8) + data[position + 3]
        is_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if is_frame and size_hw is None and position + 9 <= len(data):
            size_hw = struct.unpack_from(">HH", data, position + 5)
        elif marker == 0xE1 and orientation is None:
            content = data[position + 4 : position + 2 + length]
            orientation = _exif_orientation(content)
        position += 2 + length
    return ImageHeader(size_hw, True, orientation or 1, is_cut)


def _exif_orientation(content: bytes) -> Optional[int]:
    """The orientation in an APP1 segment, None without (CIPA DC-008, TIFF 6.0)."""
    if content[:6] != b"Exif\x00\x00" or len(content) < 14:
        return None
    tiff = content[6:]
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    mark, start = struct.unpack_from(order + "HI", tiff, 2)
    if mark != 42 or start + 2 > len(tiff):
        return None
    (count,) = struct.unpack_from(order + "H", tiff, start)
    for entry in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", tiff, entry)
        if tag == _ORIENTATION_TAG:
            (value,) = struct.unpack_from(order + "H", tiff, entry + 8)
            return value if kind == 3 and 1 <= value <= 8 else None
    return None


def _webp_size(data: bytes) -> Optional[SizeHW]:
    kind = data[12:16]
    if kind == b"VP8X":
        width = 1 + int.from_bytes(data[24:27], "little")
        return 1 + int.from_bytes(data[27:30], "little"), width
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return height & 0x3FFF, width & 0x3FFF
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + ((bits >> 14) & 0x3FFF), 1 + (bits & 0x3FFF)
    return None
