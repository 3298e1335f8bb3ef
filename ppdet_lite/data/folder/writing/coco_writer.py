"""COCO json: `annotations/instances_SPLIT.json`, images in `images/SPLIT`."""

from __future__ import annotations

from typing import Any

from ppdet_lite.data.folder.writing.set_writer import PlacedSplit, SetWriter
from ppdet_lite.utils.files import write_json


class CocoWriter(SetWriter):
    """Categories are numbered from 1; `difficult` becomes `ignore`."""

    def write_split(self, split: PlacedSplit) -> list[str]:
        rows, boxes = list[dict[str, Any]](), list[dict[str, Any]]()
        for number, (image, name) in enumerate(zip(split.images, split.names), start=1):
            size = {"width": image.width, "height": image.height}
            rows.append({"id": number, "file_name": name, **size})
            for index, (x1, y1, x2, y2) in enumerate(image.boxes_xyxy.astype(float).tolist()):
                width, height = round(x2 - x1, 3), round(y2 - y1, 3)
                box = {
                    "id": len(boxes) + 1,
                    "image_id": number,
                    "category_id": int(image.classes[index]) + 1,
                    "bbox": [round(x1, 3), round(y1, 3), width, height],
                    "area": round(width * height, 3),
                    "iscrowd": int(image.crowd[index]),
                }
                boxes.append({**box, "ignore": 1} if image.difficult[index] else box)
        categories = [
            {"id": row, "name": name} for row, name in enumerate(split.class_names, start=1)
        ]
        content = {"images": rows, "annotations": boxes, "categories": categories}
        path = self.folder / "annotations" / f"instances_{split.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content)
        return []
