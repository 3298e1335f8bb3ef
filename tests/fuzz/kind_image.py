"""Image files of all formats: damaged bytes and sizes, read as training and deployment do."""

import struct

import cv2
import numpy as np

from ppdet_lite.core.errors import ImageError
from ppdet_lite.data.pixels.file_check import displayed_size, image_problem
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.data.transforms.decode import Decode
from tests.fuzz.harness import Trial
from tests.fuzz.images import PHOTO, encoded
from tests.fuzz.mutations import damage_bytes

PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
WHOLE = {
    **{e: encoded(e) for e in ".jpg .png .bmp .gif .tiff .webp .avif .jp2 .ppm .ras".split()},
    "p.jpg": encoded(".jpg", PHOTO, *PROGRESSIVE),
    "g.jpg": encoded(".jpg", PHOTO[..., 0].copy()),
    "16.png": encoded(".png", PHOTO.astype(np.uint16) * 257),
    "f.tiff": encoded(".tiff", PHOTO.astype(np.float32)),
    "lossy.webp": encoded(".webp", PHOTO, cv2.IMWRITE_WEBP_QUALITY, 50),
    ".hdr": encoded(".hdr", PHOTO.astype(np.float32) / 255),
    ".pfm": encoded(".pfm", PHOTO.astype(np.float32) / 255),
    ".pgm": encoded(".pgm", PHOTO[..., 0].copy()),
}
WHOLE = {name: data for name, data in WHOLE.items() if data}
SIZES = (0, 1, 47, 65535, 13000, 40000, 2**31 - 1, 2**32 - 1)
OLD = (64, 48)


def prepare(folder):
    """Nothing is shared."""


def _other_sizes(rnd, data):
    """Every number that may be width or height replaced by another."""
    for side in OLD:
        new = rnd.choice(SIZES)
        for form in rnd.sample(["<H", ">H", "<I", ">I"], 4):
            limit = 2 ** (8 * struct.calcsize(form)) - 1
            old = struct.pack(form, side)
            if (at := data.find(old)) >= 0:
                data = data[:at] + struct.pack(form, new & limit) + data[at + len(old) :]
                break
    return data


def trial(rnd, folder):
    """A damaged image file `a.x`."""
    name = rnd.choice(list(WHOLE))
    data, label = damage_bytes(rnd, WHOLE[name], (b"\xff\xda", b"\xff\xd9", b"\xff\xc0", b"IDAT"))
    kind = rnd.choice(["bytes"] * 4 + ["head", "head", "sizes", "sizes", "tail", "join"])
    if kind == "head":
        made = bytearray(WHOLE[name])
        for _ in range(rnd.choice([1, 2, 5])):
            made[rnd.randrange(min(len(made), 200))] = rnd.randrange(256)
        data, label = bytes(made), "head"
    elif kind == "sizes":
        data, label = _other_sizes(rnd, WHOLE[name]), "sizes"
    elif kind == "tail":
        data, label = WHOLE[name] + rnd.randbytes(rnd.randrange(1, 1000)), "tail"
    elif kind == "join":
        other = WHOLE[rnd.choice(list(WHOLE))]
        cut = rnd.randrange(1, 300)
        data, label = WHOLE[name][:cut] + other[cut:], "join"
    path = folder / "a.x"
    path.write_bytes(data)
    return Trial(f"{name} {label}", lambda: _read(str(path)), ("a.x",))


def _read(path):
    """The training's way and the deployment's way must agree."""
    problem = image_problem(path, "contents")
    try:
        image = decode_image(path)
    except ImageError as error:
        assert problem, f"decode_image alone refuses: {error}"
        raise
    assert not problem, f"only image_problem refuses: {problem}"
    assert displayed_size(path) == image.shape[:2], f"{displayed_size(path)}, {image.shape}"
    sample = Decode()({"im_file": path, "gt_bbox": np.zeros((0, 4), np.float32), "h": 48, "w": 64})
    assert sample["image"].resize(32, 32, 1).render().shape == (32, 32, 3)
