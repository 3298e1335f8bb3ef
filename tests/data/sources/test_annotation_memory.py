"""Reading the annotations of a large data set takes about as much memory as their text."""

import json
import random
import subprocess
import sys

SCRIPT = """
import sys
from ppdet_lite.data.sources.coco import COCODataSet
from ppdet_lite.utils.cpu import peak_resident_bytes
before = peak_resident_bytes()
dataset = COCODataSet(sys.argv[1], "", "big.json")
print(peak_resident_bytes() - before, len(dataset), dataset.box_count)
"""


def test_many_polygons(tmp_path, repo):
    draw = random.Random(0)
    images, boxes = 5_000, 50_000
    content = {
        "images": [
            {"id": i, "file_name": f"{i:012d}.jpg", "width": 640, "height": 480}
            for i in range(images)
        ],
        "annotations": [
            {
                "id": i,
                "image_id": draw.randrange(images),
                "category_id": 1,
                "bbox": [draw.random() * 300, draw.random() * 200, 50.25, 60.75],
                "area": 3052.6875,
                "iscrowd": 0,
                "segmentation": [[draw.random() * 400 for _ in range(40)]],
            }
            for i in range(boxes)
        ],
        "categories": [{"id": 1, "name": "thing"}],
    }
    path = tmp_path / "big.json"
    path.write_text(json.dumps(content))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True)
    growth, image_count, box_count = map(int, done.stdout.split())
    assert (image_count, box_count) == (images, boxes)
    # Parsed as Python objects, this file takes about four times its size.
    assert 0.1 < growth / path.stat().st_size < 1.2
