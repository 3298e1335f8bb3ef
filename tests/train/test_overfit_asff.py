"""YOLOv3 with ASFF can learn: a narrow one learns two images by heart, guided anchors included."""

import math

import numpy as np
import paddle

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.ops.boxes_np import iou_matrix

SIDE, STEPS, RATE = 64, 150, 0.01
# Center x, y, width, height as shares, and class.
OBJECTS = [[(0.3, 0.3, 0.3, 0.3, 0), (0.75, 0.6, 0.4, 0.5, 1)], [(0.5, 0.5, 0.8, 0.7, 1)]]


def images_and_batch():
    rng = np.random.default_rng(0)
    pixels = rng.normal(0, 0.1, (2, 3, SIDE, SIDE)).astype(np.float32)
    table = np.zeros((2, 2, 5), np.float32)
    for image, objects in enumerate(OBJECTS):
        table[image, : len(objects)] = objects
        for x, y, w, h, label in objects:
            left, right, top, bottom = (
                int(v * SIDE) for v in (x - w / 2, x + w / 2, y - h / 2, y + h / 2)
            )
            pixels[image, :, top:bottom, left:right] += 2 if label else -2
    image = paddle.to_tensor(pixels)
    labels = paddle.to_tensor(table[..., 4].astype(np.int64))
    return image, {"image": image, "gt_bbox": paddle.to_tensor(table[..., :4]), "gt_class": labels}


def test_one_batch_is_learned_by_heart(repo):
    settings = ["width_mult=0.0625", "num_classes=2", "GuidedAnchorLoss.label_smooth=false"]
    paddle.seed(0)
    model = create("YOLOv3", load_config(repo / "configs/asff/yolov3_asff_coco.yml", settings))
    image, batch = images_and_batch()
    trained = [p for p in model.parameters() if not p.stop_gradient]
    clip = paddle.nn.ClipGradByGlobalNorm(1000.0)
    optimizer = paddle.optimizer.Momentum(RATE, 0.9, parameters=trained, grad_clip=clip)
    model.train()
    for step in range(STEPS):
        optimizer.set_lr(RATE * 0.5 * (1 + math.cos(math.pi * step / STEPS)))
        terms = model(batch)
        terms["loss"].backward()
        optimizer.step()
        optimizer.clear_grad()
    assert float(terms["loss_anchor"]) < 1
    model.eval()
    size = {"im_shape": paddle.full([2, 2], float(SIDE)), "scale_factor": paddle.ones([2, 2])}
    found = model({"image": image, **size})
    counts = found["bbox_num"].numpy()
    for rows, objects in zip(np.split(found["bbox"].numpy(), counts.cumsum()[:-1]), OBJECTS):
        best = rows[: len(objects)]  # sorted by score
        x, y, w, h, label = np.array(objects).T
        truth = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1) * SIDE
        overlap = iou_matrix(truth, best[:, 2:].astype(np.float64))
        assert (overlap.max(axis=1) > 0.8).all()
        assert best[overlap.argmax(axis=1), 0].tolist() == label.tolist()
        assert (best[:, 1] > 0.5).all()
