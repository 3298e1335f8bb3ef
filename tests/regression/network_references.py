"""What a network computes from weights that follow from their names: features to losses."""

import hashlib
import zlib
from typing import NamedTuple

import numpy as np
import paddle
from comparison import Tolerance, summary

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.modeling.layers.regularization.drop_block import DropBlock


class Network(NamedTuple):
    """A shipped configuration and what makes it small."""

    config: str
    overrides: tuple = ()


# One line for each kind of network; the key names its file in references/.
NETWORKS = {
    "ppyolov2": Network(
        "ppyolo/ppyolov2_r50vd_dcn_365e_coco", ("ResNet.depth=18", "width_mult=0.25")
    ),
    "ppyolo": Network("ppyolo/ppyolo_r50vd_dcn_1x_coco", ("width_mult=0.125",)),
    "ppyolo_mbv3": Network("ppyolo/ppyolo_mbv3_small_coco", ("width_mult=0.5",)),
    "ppyolo_tiny": Network("ppyolo/ppyolo_tiny_650e_coco"),
    "yolov3": Network("yolov3/yolov3_darknet53_270e_coco", ("width_mult=0.125",)),
    "yolov4": Network("yolov4/yolov4_cspdarknet53_coco", ("width_mult=0.125",)),
    "yolov4_csp": Network("yolov4/yolov4_csp_coco", ("width_mult=0.125",)),
    "yolov4_tiny": Network("yolov4/yolov4_tiny_coco", ("width_mult=0.125",)),
    "yolov4_gaussian": Network(
        "yolov4/ablation/yolov4_ablation_sam_gaussian", ("width_mult=0.125",)
    ),
    "asff": Network("asff/yolov3_asff_star_coco", ("width_mult=0.125",)),
    "yolox": Network("yolox/yolox_s_300e_coco", ("width_mult=0.125",)),
    "yolov3_mobilenet_v1": Network("yolov3/yolov3_mobilenet_v1_270e_coco", ("width_mult=0.125",)),
    "yolox_crn": Network("yolox/yolox_crn_s_300e_coco", ("width_mult=0.125",)),
    "asff_mobilenet_v2": Network("asff/yolov3_mobilenet_v2_asff_coco", ("width_mult=0.125",)),
    "yolox_nano": Network("yolox/yolox_nano_300e_coco", ("width_mult=0.125",)),
    "yolox_upstream": Network("yolox/upstream/yolox_s_upstream_coco", ("width_mult=0.125",)),
    "yolox_anchors": Network("yolox/roadmap/roadmap_2_decoupled_head_coco", ("width_mult=0.125",)),
    "yolox_nms_free": Network("yolox/roadmap/roadmap_7_nms_free_coco", ("width_mult=0.125",)),
    "yolox_darknet53": Network(
        "yolox/upstream/yolox_darknet53_upstream_coco", ("width_mult=0.125",)
    ),
}

COMMON = ("num_classes=3", "use_gpu=false")
KEPT = 25  # detections per image
HEIGHT, WIDTH = 96, 128
GRADIENTS_SHOWN = 8

# Other versions (Paddle 2.6.2 and 3.3.1) and kernels move every number by less than a tenth of
# this; noise of 1e-6 on every weight, ten times what float32 rounds, by less than all of it.
TOLERANCES = [
    Tolerance("*shape"),
    Tolerance("state_dict.*"),
    Tolerance("targets.*", absolute=2e-6),
    Tolerance("statistics*", absolute=1e-4, relative=1e-4),
    Tolerance("head*", absolute=5e-4, relative=5e-4),
    Tolerance("boxes.*", absolute=0.03, relative=2e-4),
    Tolerance("scores.*", absolute=1e-4),
    Tolerance("detections.count", absolute=1),
    Tolerance("direct.*", absolute=2e-5, relative=2e-5),
    Tolerance("loss.*", absolute=2e-4, relative=2e-4),
    Tolerance("gradient.norm", relative=5e-3),
    Tolerance("gradient.norms", relative=2e-2),  # single ones jump where an activation has a kink
    Tolerance("update.norms", relative=2e-2),
]
GUIDED_TOLERANCES = [
    Tolerance("boxes.projection", absolute=2.0),
    Tolerance("boxes.*", absolute=0.03, relative=2e-3),
    *TOLERANCES,
]
"""Of guided anchors: sides are exponentials of exponentials, up to thousands of pixels, so that the
kernels that MKL takes on a processor show."""

# Center x, y, width, height as shares of the image, class, score: objects of several sizes, two
# in one cell, one on the right and bottom border, some with mixup's shares; padding follows. There
# are enough of them for some predictions to fall on one by chance, which the loss then ignores.
OBJECTS = [
    [
        (0.30, 0.40, 0.20, 0.30, 0, 1.0),
        (0.31, 0.41, 0.21, 0.29, 2, 1.0),
        (0.55, 0.50, 0.90, 0.90, 1, 1.0),
        (0.70, 0.20, 0.45, 0.35, 0, 1.0),
        (0.80, 0.75, 0.30, 0.45, 2, 1.0),
        (0.15, 0.80, 0.25, 0.30, 1, 1.0),
        (0.50, 0.15, 0.35, 0.25, 2, 1.0),
    ],
    [
        (0.75, 0.25, 0.08, 0.10, 1, 0.37),
        (0.95, 0.95, 0.10, 0.10, 2, 0.37),
        (0.40, 0.45, 0.70, 0.80, 0, 0.37),
        (0.25, 0.30, 0.45, 0.50, 1, 0.63),
        (0.70, 0.70, 0.50, 0.55, 2, 0.63),
        (0.60, 0.35, 0.25, 0.60, 0, 0.63),
        (0.20, 0.75, 0.35, 0.35, 2, 0.63),
    ],
]
PADDED = 9
EPOCH = 290  # late enough for the term that YOLOX adds at the end


def network_reference(network: Network, repo, overrides=()) -> dict:
    """Everything that is recorded of a network, nested."""
    # The common settings first, so that a test can change what it likes.
    path = repo / "configs" / f"{network.config}.yml"
    cfg = load_config(path, [*COMMON, *network.overrides, *overrides])
    model = create(cfg.architecture, cfg)
    record = {"state_dict": describe_state(model)}
    fill(model)
    record["statistics"] = calibrate_norms(model)
    record.update(evaluation_record(model))
    batch = training_batch(cfg)
    record["targets"] = target_record(batch)
    if hasattr(model, "yolo_head"):
        record["direct"] = direct_loss_record(model.yolo_head, batch)
    record.update(training_record(model, cfg, batch))
    return record


def describe_state(model) -> dict:
    """Number of entries and elements, and a fingerprint of all names and shapes."""
    shapes = {key: list(value.shape) for key, value in sorted(model.state_dict().items())}
    text = "\n".join(f"{key} {shape}" for key, shape in shapes.items())
    return {
        "entries": [len(shapes)],
        "elements": [int(sum(np.prod(shape) for shape in shapes.values()))],
        "fingerprint": hashlib.sha256(text.encode()).hexdigest()[:16],
    }


def fill(model) -> None:
    """Weights from the names of the state dict alone, by numpy, so that no initializer and no
    generator of the framework matters.
    """
    state = model.state_dict()
    values = {key: rule(key, tuple(value.shape), state) for key, value in state.items()}
    model.set_state_dict({key: paddle.to_tensor(value) for key, value in values.items()})


def rule(key: str, shape: tuple, keys) -> np.ndarray:
    """The value of one entry, float32; `keys` are all names, which tell norms from convolutions."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    parent, leaf = key.rsplit(".", 1)
    is_norm = f"{parent}._mean" in keys
    if leaf == "_mean":
        value = np.zeros(shape)
    elif leaf == "_variance":
        value = np.ones(shape)
    elif is_norm and leaf == "weight":
        value = rng.uniform(0.5, 0.9, shape)
    elif is_norm:
        value = 0.2 + 0.1 * rng.standard_normal(shape)
    elif leaf == "bias":
        value = 0.05 * rng.standard_normal(shape)
    else:
        # Offsets of a deformable convolution stay below a pixel.
        size = 0.01 if parent.endswith("conv_offset") else np.sqrt(2 / np.prod(shape[1:]))
        value = size * rng.standard_normal(shape)
    return value.astype(np.float32)


def noise(seed: int, count: int) -> paddle.Tensor:
    """Images of fine noise on patches of 16 x 16; fine noise alone would not reach the deep
    layers.
    """
    rng = np.random.default_rng(seed)
    patches = rng.standard_normal((count, 3, HEIGHT // 16, WIDTH // 16))
    pixels = 0.5 * rng.standard_normal((count, 3, HEIGHT, WIDTH))
    pixels += patches.repeat(16, axis=2).repeat(16, axis=3)
    return paddle.to_tensor(pixels.astype(np.float32))


def norms_of(model) -> list:
    return [layer for layer in model.sublayers() if isinstance(layer, paddle.nn.BatchNorm2D)]


def calibrate_norms(model) -> dict:
    """Running statistics := those of the filled network on noise; without them the response of a
    deep filled network to its input fades away. Returns a summary of them.
    """
    model.eval()
    norms = norms_of(model)
    momenta = [norm._momentum for norm in norms]
    for norm in norms:
        norm._momentum = 0.0
        norm.train()
    with paddle.no_grad():
        model.raw_outputs(noise(1, 4))
    for norm, momentum in zip(norms, momenta):
        norm._momentum = momentum
    model.eval()
    return norm_summary(norms)


def norm_summary(norms) -> dict:
    """Of the running statistics of all layers: one mean and one variance per layer in order."""
    return {
        "mean": summary([float(norm._mean.numpy()[0]) for norm in norms]),
        "variance": summary([float(norm._variance.numpy()[0]) for norm in norms]),
    }


def evaluation_record(model) -> dict:
    """Raw outputs, decoded boxes and scores, detections of two of the images that the norms were
    calibrated on."""
    with paddle.no_grad():
        raw = model.raw_outputs(noise(1, 4)[:2])
        # Two originals of other sizes than the input: 192 x 256 and 384 x 256.
        im_shape = paddle.to_tensor([[float(HEIGHT), float(WIDTH)]] * 2)
        scale_factor = paddle.to_tensor([[0.5, 0.5], [0.25, 0.5]])
        boxes, scores = model.decode(raw, im_shape, scale_factor)
        nms = model.post_process.nms
        nms.arguments["keep_top_k"] = KEPT
        bbox, count, _ = nms(boxes, scores)
    record = {f"head{i}": summary(output.numpy()) for i, output in enumerate(_tensors(raw))}
    record["boxes"], record["scores"] = summary(boxes.numpy(), 24), summary(scores.numpy(), 24)
    counts = count.numpy().tolist()
    rows = np.split(bbox.numpy().astype(np.float64).round(4), np.cumsum(counts)[:-1])
    record["detections"] = {"count": counts, "rows": [image.tolist() for image in rows]}
    return record


def _tensors(raw) -> list:
    """The outputs of all levels, whether a level gives one tensor or several."""
    nested = [level if isinstance(level, (list, tuple)) else [level] for level in raw]
    return [tensor for level in nested for tensor in level]


def training_batch(cfg) -> dict:
    """A batch of the two images with OBJECTS, as the configuration's reader would give it."""
    transforms = [create(step, cfg) for step in cfg.TrainReader["batch_transforms"]]
    target = next((t for t in transforms if type(t).__name__ == "Gt2YoloTarget"), None)
    batch = {"image": noise(2, 2).numpy(), "epoch_id": np.array([EPOCH], np.int64)}
    padded = np.zeros((len(OBJECTS), PADDED, 6))
    for image, rows in enumerate(OBJECTS):
        padded[image, : len(rows)] = rows
    labels, scores = padded[..., 4].astype(np.int32), padded[..., 5].astype(np.float32)
    centers = padded[..., :4].astype(np.float32)
    if any(type(t).__name__ == "BboxXYXY2XYWH" for t in transforms) and target is None:
        return {**batch, "gt_bbox": centers, "gt_class": labels, "gt_score": scores}
    if target is None:  # ground truth itself, as corners in pixels
        size = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
        boxes = [np.array([row[:4] for row in image]) * size for image in OBJECTS]
        batch["gt_bbox"] = [
            np.hstack([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2]).astype(np.float32)
            for b in boxes
        ]
        batch["gt_class"] = [np.array([[r[4]] for r in image], np.int32) for image in OBJECTS]
        return batch
    batch["gt_bbox"] = centers
    targets = target.targets(batch["gt_bbox"], labels, scores, (HEIGHT, WIDTH))
    return {**batch, **{f"target{i}": array for i, array in enumerate(targets)}}


def target_record(batch: dict) -> dict:
    """Every value of the targets that is not zero, and where it stands."""
    record = {}
    for key in sorted(key for key in batch if key.startswith("target")):
        where = np.nonzero(batch[key])
        record[key] = {
            "shape": list(batch[key].shape),
            "where": np.stack(where, axis=1).ravel().tolist(),
            "values": batch[key][where].astype(np.float64).tolist(),
        }
    return record


def direct_loss_record(head, batch: dict) -> dict:
    """Loss terms of raw outputs near zero, whose boxes are nearly the anchors, and their gradient:
    every formula of the loss, the ignored cells included, without the network in front of it.
    """
    raw = []
    for i, level in enumerate(head.levels):
        anchors = len(level.anchors)
        per_anchor = head.num_classes + (6 if head.iou_aware else 5) + 2 * level.guided
        per_anchor += 4 * level.gaussian
        shape = (2, anchors * per_anchor, HEIGHT // level.stride, WIDTH // level.stride)
        values = 0.2 * np.random.default_rng((4, i)).standard_normal(shape)
        raw.append(paddle.to_tensor(values.astype(np.float32), stop_gradient=False))
    terms = head.get_loss(raw, _as_tensors(batch))
    terms["loss"].backward()
    record = {name: [float(term)] for name, term in terms.items()}
    for i, output in enumerate(raw):
        record[f"gradient{i}"] = summary(output.grad.numpy())
    return record


def training_record(model, cfg, batch: dict) -> dict:
    """Loss terms, gradients and running statistics of one training step without DropBlock, and how
    far the configuration's optimizer moves the weights at a rate of 0.01.
    """
    model.train()
    for layer in model.sublayers():
        if isinstance(layer, DropBlock):
            layer.eval()
    terms = model(_as_tensors(batch))
    terms["loss"].backward()
    trained = {key: p for key, p in model.named_parameters() if not p.stop_gradient}
    norms = {key: float(np.linalg.norm(p.grad.numpy())) for key, p in trained.items()}
    before = {key: p.numpy().copy() for key, p in trained.items()}
    create("OptimizerBuilder", cfg)(0.01, list(trained.values())).step()
    moved = {key: p.numpy() - before[key] for key, p in trained.items()}
    shown = np.linspace(0, len(norms) - 1, GRADIENTS_SHOWN).round().astype(int)
    return {
        "loss": {name: [float(term)] for name, term in terms.items()},
        "gradient": {
            "norm": [np.sqrt(sum(norm**2 for norm in norms.values()))],
            "norms": [list(norms.values())[i] for i in shown],
        },
        "statistics_after": norm_summary(norms_of(model)),
        "update": {"norms": [float(np.linalg.norm(list(moved.values())[i])) for i in shown]},
    }


def _as_tensors(batch: dict) -> dict:
    return {
        key: [paddle.to_tensor(v) for v in value]
        if isinstance(value, list)
        else paddle.to_tensor(value)
        for key, value in batch.items()
    }
