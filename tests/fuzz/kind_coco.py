"""COCO annotation files: values replaced in the tree, and damaged text."""

import json

from ppdet_lite.data.sources.coco import COCODataSet
from tests.fuzz.harness import Trial
from tests.fuzz.images import encoded, use
from tests.fuzz.mutations import VALUES, damage_bytes, damage_value

TREE = {
    "info": {"year": 2020},
    "images": [
        {"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 48, "license": 1} for i in (1, 2)
    ],
    "annotations": [
        {
            "id": i,
            "image_id": 1 + i % 2,
            "category_id": 1 + i % 3,
            "bbox": [1.5 * i, 2, 20, 30],
            "area": 600.5,
            "iscrowd": 0,
            "segmentation": [[1, 2, 20, 2, 20, 30]],
        }
        for i in range(1, 5)
    ],
    "categories": [{"id": i, "name": f"c{i}", "supercategory": "thing"} for i in (1, 2, 3)],
}
MORE = [
    [[1, 2, 10**400, 4, 5, 6]],
    [["a"] * 6],
    [[1e300] * 6],
    [[float("nan")] * 6],
    {"counts": "abc", "size": [1, 1]},
    [-1e9, -1e9, 2e9, 2e9],
    {"image_id": 1},
    {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]},
]
TEXTS = (
    '{"images": [{"id": ' + "9" * 5000 + "}]}",
    "[" * 5000,
    '{"a":' * 3000,
    '{"images": [[]], "categories": [[]]}',
    '{"images": {}, "categories": {}, "annotations": {}}',
    '{"annotations": [], "annotations": [1]}',
    "\ufeff{}",
    "null",
    '"images"',
    '{"images": [',
    '{"images"}',
    "{1: 2}",
    "{} x",
)


def prepare(folder):
    """Writes the images."""
    for number in (1, 2):
        (folder / f"{number}.jpg").write_bytes(encoded(".jpg"))


def trial(rnd, folder):
    """A damaged `a.json`."""
    content, label = damage_value(rnd, TREE, VALUES + MORE)
    data = json.dumps(content).encode("utf-8", "surrogatepass")
    kind = rnd.choice(["values"] * 8 + ["bytes"] * 3 + ["text"])
    if kind == "bytes":
        data, label = damage_bytes(
            rnd, json.dumps(TREE, indent=1).encode(), (b"[", b"]", b"{", b",")
        )
    elif kind == "text":
        label = rnd.choice(TEXTS)
        data = label.encode()
    (folder / "a.json").write_bytes(data)
    options = rnd.choice([{}, {"load_crowd": True}, {"allow_empty": False}, {"repeat": 2}])

    def run():
        return use(COCODataSet(str(folder), "", "a.json", **options))

    return Trial(f"{label} {options}", run, ("a.json",))
