"""Narrow forms of YOLOX by its authors, and of the steps of its roadmap, learn a batch by heart."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.workspace import create, load_config

CONFIGS = (  # one for each head and assignment
    "upstream/yolox_s_upstream_coco",
    "roadmap/roadmap_1_yolov3_spp_coco",
    "roadmap/roadmap_2_decoupled_head_coco",
    "roadmap/roadmap_5_multi_positives_coco",
    "roadmap/roadmap_7_nms_free_coco",
)
STEPS, SIDE = 160, 64
OBJECTS = [[(10, 9, 42, 31, 0)], [(18, 17, 58, 61, 1), (2, 2, 20, 15, 0)]]


def batch() -> dict:
    """Two images of rectangles in the color of their class, and their boxes."""
    rng = np.random.default_rng(0)
    image = rng.normal(0, 0.2, (2, 3, SIDE, SIDE)).astype(np.float32)
    for i, objects in enumerate(OBJECTS):
        for x1, y1, x2, y2, label in objects:
            image[i, label, y1:y2, x1:x2] += 2
    return {
        "image": image,
        "gt_bbox": [np.float32([row[:4] for row in objects]) for objects in OBJECTS],
        "gt_class": [np.int32([[row[4]] for row in objects]) for objects in OBJECTS],
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_one_batch_is_learned_by_heart(name, repo):
    path = repo / "configs" / "yolox" / f"{name}.yml"
    own = load_config(path)
    small = ["num_classes=2", "width_mult=0.125", "use_gpu=false"]
    cfg = load_config(path, [*small, f"{own.architecture}.size_range=null"])
    paddle.seed(0)
    model = create(cfg.architecture, cfg)
    model.train()
    optimizer = paddle.optimizer.Adam(3e-3, parameters=model.parameters())
    data, losses = batch(), []
    for _ in range(STEPS):
        terms = model(data)
        terms["loss"].backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(terms["loss"]))
    assert losses[-1] < 0.35 * losses[0]

    with paddle.no_grad():  # with the statistics of these two images
        raw = model.raw_outputs(paddle.to_tensor(data["image"]))
        bbox, counts = model.post_process(raw, model.head.levels, None, paddle.ones([2, 2]))
    rows = np.split(bbox.numpy(), np.cumsum(counts.tolist())[:-1])
    for found, objects in zip(rows, OBJECTS):
        for *corners, label in objects:
            same = found[(found[:, 0] == label) & (found[:, 1] > 0.2)]
            assert len(same) and np.abs(same[:, 2:] - corners).max(axis=1).min() < 8, found[:5]
