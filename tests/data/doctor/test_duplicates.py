"""Copies of images are found by their look, without comparing all with all."""

import cv2
import numpy as np
import pytest

from ppdet_lite.data.doctor.duplicates import NEAR_BITS, clusters, equal_files, near_images
from ppdet_lite.data.doctor.image_facts import ImageFacts, look_of
from tests.data.doctor.faulty_sets import photo


def facts(looks):
    return [ImageFacts(look=look) for look in looks]


def flipped(look, count, rng):
    bits = np.unpackbits(look)
    bits[rng.choice(256, count, replace=False)] ^= 1
    return np.packbits(bits)


@pytest.mark.parametrize(
    "change",
    [
        lambda i: cv2.imdecode(cv2.imencode(".jpg", i, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 1),
        lambda i: cv2.resize(i, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        lambda i: cv2.resize(i, (300, 300)),
        lambda i: np.clip(i * 0.8 + 8, 0, 255).astype(np.uint8),
    ],
)
def test_copies_look_alike_and_others_do_not(change):
    looks = [look_of(photo(seed, 240, 320)) for seed in range(12)]
    looks += [look_of(change(photo(3, 240, 320)))]
    assert near_images(facts(looks)) == [(3, 12)]


def test_pairs_among_many():
    rng = np.random.default_rng(1)
    looks = rng.integers(0, 256, (3000, 32), dtype=np.uint8)
    close = [flipped(looks[row], 20, rng) for row in range(100)]
    far = [flipped(looks[row], NEAR_BITS + 1, rng) for row in range(100, 200)]
    pairs = near_images(facts([*looks, *close, *far]))
    assert pairs == [(row, 3000 + row) for row in range(100)]
    edge = [flipped(looks[row], NEAR_BITS, rng) for row in range(200, 500)]
    assert len(near_images(facts([*looks, *edge]))) >= 290  # 99 % are found


def test_images_of_one_color_have_no_look():
    flat = np.full((50, 60, 3), 90, np.uint8)
    assert look_of(flat) is None
    assert near_images(facts([None, None, look_of(photo(0))])) == []


def test_groups():
    equal = [ImageFacts(digest=digest) for digest in (b"a", b"b", b"a", b"", b"")]
    assert equal_files(equal) == [[0, 2]]
    assert clusters([(3, 5), (1, 3), (7, 8)]) == [[1, 3, 5], [7, 8]]
