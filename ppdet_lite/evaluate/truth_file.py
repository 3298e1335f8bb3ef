"""The labels of an evaluation in a file, which a report needs beside the detections."""

import json
import os
from typing import Any, Container, Optional

from ppdet_lite.data.sources.dataset import Dataset
from ppdet_lite.utils.files import PathLike, replacing


def truth_of(dataset: Dataset, image_ids: Optional[Container[int]] = None) -> dict[str, Any]:
    """The labels as COCO annotations; `path` of an image is that of its file.

    Args:
        image_ids: leave out the other images.
    """
    truth: dict[str, Any] = dict(dataset.to_coco())
    files = {}
    for index in range(len(dataset)):
        record = dataset.record(index)
        if "im_file" in record:
            files[int(record["im_id"][0])] = os.path.abspath(str(record["im_file"]))
    images = [{**image, "path": files.get(int(image["id"]))} for image in truth["images"]]
    if image_ids is not None:
        images = [image for image in images if image["id"] in image_ids]
        items = truth["annotations"]
        truth["annotations"] = [item for item in items if item["image_id"] in image_ids]
    return {**truth, "info": {"data": dataset.name}, "images": images}


def write_truth(dataset: Dataset, image_ids: Container[int], path: PathLike) -> None:
    """Writes `truth_of` these images; a DataError if that is not possible."""
    text = json.dumps(truth_of(dataset, image_ids), ensure_ascii=False)
    with replacing(path) as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))
