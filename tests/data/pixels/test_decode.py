"""The transform that reads images."""

import cv2
import numpy as np
import pytest

from ppdet_lite.data.transforms.decode import Decode
from ppdet_lite.data.transforms.transform import Context


def test_decode_sets_sizes(tmp_path):
    path = tmp_path / "x.png"
    cv2.imwrite(str(path), np.full((20, 30, 3), 7, np.uint8))
    sample = Decode()({"im_file": str(path)})
    assert (sample["h"], sample["w"]) == (20, 30)
    np.testing.assert_array_equal(sample["im_shape"], [20, 30])
    np.testing.assert_array_equal(sample["scale_factor"], [1, 1])
    from_bytes = Decode()({"image": path.read_bytes()})
    np.testing.assert_array_equal(from_bytes["image"].render(), sample["image"].render())


def test_decode_believes_the_annotated_size_about_rotation(tmp_path):
    """Boxes drawn on the image as stored must not meet a rotated image."""
    from struct import pack

    photo = np.zeros((20, 30, 3), np.uint8)
    photo[:10] = 255
    jpeg = cv2.imencode(".jpg", photo)[1].tobytes()
    tiff = b"II*\x00" + pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"\xff\xe1" + pack(">H", len(tiff) + 8) + b"Exif\x00\x00" + tiff
    path = tmp_path / "x.jpg"
    path.write_bytes(jpeg[:2] + exif + jpeg[2:])
    record = {"im_file": str(path), "gt_bbox": np.zeros((0, 4), np.float32)}
    assert Decode()({**record, "h": 30, "w": 20})["image"].size_hw == (30, 20)
    assert Decode()({**record, "h": 20, "w": 30})["image"].size_hw == (20, 30)
    assert Decode()({"im_file": str(path), "h": 20, "w": 30})["image"].size_hw == (30, 20)
    context = Context(np.random.default_rng(0))
    assert Decode()({**record, "h": 99, "w": 98}, context)["image"].size_hw == (30, 20)
    (note,) = context.notes
    assert f"first: {path}, annotated 98x99, is 20x30" in note


@pytest.mark.parametrize("bits, notes", [(10, 1), (12, 1), (16, 0)])
def test_16_bit_images_that_use_fewer_bits_are_told(tmp_path, bits, notes):
    path, context = tmp_path / "x.png", Context(np.random.default_rng(0))
    cv2.imwrite(str(path), np.linspace(0, 2**bits - 1, 600).reshape(20, 30).astype(np.uint16))
    Decode()({"im_file": str(path)}, context)
    Decode()({"im_file": str(path)}, context)
    assert [text.startswith("images of 16 bits") for text in context.notes] == [True] * notes
    assert sum(context.notes.values()) == 2 * notes
