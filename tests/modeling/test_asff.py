"""ASFF: resizing and fusion of levels by hand, on any neck; the guided head; its loss by hand."""

import math

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.modeling.contracts import Neck, ShapeSpec
from ppdet_lite.modeling.heads.guided_anchor_head import ANCHOR_SETS, GuidedAnchorHead
from ppdet_lite.modeling.layers.rfb import RFB
from ppdet_lite.modeling.losses.guided_anchor_loss import GuidedAnchorLoss
from ppdet_lite.modeling.necks.adaptive_fusion import AdaptiveFusion, MapResize
from ppdet_lite.modeling.necks.asff import ASFF
from ppdet_lite.modeling.necks.yolo_csp_pan import YOLOCSPPAN
from ppdet_lite.modeling.post_process.box_decoders import YOLOBox


class GivenMaps(Neck):
    """Gives what it gets."""

    def __init__(self, *shapes):
        super().__init__()
        self.out_shape = [ShapeSpec(*shape) for shape in shapes]

    def forward(self, maps):
        return list(maps)


def count(layer):
    return sum(int(np.prod(p.shape)) for p in layer.parameters() if not p.stop_gradient)


@pytest.mark.parametrize(
    ("source", "target", "kernel", "hw"),
    [
        ((8, 32), (8, 32), None, (4, 5)),
        ((8, 32), (6, 32), 1, (4, 5)),
        ((8, 32), (8, 8), None, (16, 20)),
        ((8, 32), (6, 16), 1, (8, 10)),
        ((8, 16), (8, 32), 3, (4, 5)),
        ((8, 8), (6, 32), 3, (4, 5)),
    ],
)
def test_resizing_of_maps(source, target, kernel, hw):
    resize = MapResize(ShapeSpec(*source), ShapeSpec(*target), "leaky")
    found = kernel and resize.conv.conv.weight.shape
    assert found == (kernel and [target[0], source[0], kernel, kernel])
    rows, columns = 4 * 32 // source[1], 5 * 32 // source[1]
    assert resize(paddle.ones([2, source[0], rows, columns])).shape == [2, target[0], *hw]


def test_weights_decide_cell_by_cell():
    """With logits of 0 each map has a third; a bias of ln 2 for one of them gives it a half."""
    shapes = [ShapeSpec(4, 32), ShapeSpec(4, 16), ShapeSpec(4, 8)]
    fusion = AdaptiveFusion(shapes, shapes[0], 4, 16, "leaky")
    fusion.eval()
    maps = [paddle.rand([1, 4, side, side]) for side in (2, 4, 8)]
    fusion.weight_logits.weight.set_value(paddle.zeros_like(fusion.weight_logits.weight))
    resized = fusion.resized(maps)
    np.testing.assert_allclose(fusion.fusion_weights(resized).numpy(), 1 / 3, rtol=1e-6)
    fusion.weight_logits.bias.set_value(np.float32([0, math.log(2), 0]))
    found = fusion.fusion_weights(resized).numpy()
    np.testing.assert_allclose(found[0, :, 1, 0], [0.25, 0.5, 0.25], rtol=1e-6)
    seen = []
    fusion.expand.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numpy()))
    fusion(maps)
    first, second, third = (x.numpy() for x in resized)
    np.testing.assert_allclose(seen[0], first / 4 + second / 2 + third / 4, rtol=1e-5, atol=1e-7)


def test_any_neck_in_any_order():
    neck = YOLOCSPPAN(0.33, (8, 16, 32), in_strides=(8, 16, 32))
    fused = ASFF(neck, out_channels=None)
    assert fused.out_shape == [(8, 8), (16, 16), (32, 32)]
    maps = [paddle.rand([1, c, 64 // s, 96 // s]) for c, s in ((8, 8), (16, 16), (32, 32))]
    assert [list(x.shape) for x in fused(maps)] == [[1, 8, 8, 12], [1, 16, 4, 6], [1, 32, 2, 3]]
    weights = fused.fusion_weights(maps)
    assert [list(x.shape) for x in weights] == [[1, 3, 8, 12], [1, 3, 4, 6], [1, 3, 2, 3]]
    two = ASFF(GivenMaps((4, 32), (4, 8)), channels=[8, 4], out_channels=[6, 6], act="relu6")
    assert two.out_shape == [(6, 32), (6, 8)]
    assert two([paddle.rand([1, 4, 2, 2]), paddle.rand([1, 4, 8, 8])])[1].shape == [1, 6, 8, 8]


@pytest.mark.parametrize(
    ("shapes", "settings", "match"),
    [
        ([(4, 32)], {}, r"neck: found \[32\]"),
        ([(4, 32), (4, 12)], {}, r"neck: found \[32, 12\]"),
        ([(4, 32), (4, 16)], {"out_channels": [8]}, r"out_channels: found \[8\]"),
        ([(4, 32), (4, 16)], {"channels": [8] * 3}, r"channels: found \[8, 8, 8\]"),
    ],
)
def test_necks_that_cannot_be_fused(shapes, settings, match):
    with pytest.raises(ConfigError, match=match):
        ASFF(GivenMaps(*shapes), **{"out_channels": None, **settings})


def test_rfb_sees_further_in_every_branch():
    block = RFB(8)
    assert count(block) == 8 * 8 + 8 + 61 * 4 + 5 * 2
    x = paddle.zeros([1, 8, 21, 21])
    at_rest = block(x)
    x[:, :, 10, 10] = 1
    changed = (block(x) - at_rest).abs() > 1e-9
    sides = [int(changed[0, 2 * i : 2 * i + 2].any(axis=[0, 1]).sum()) for i in range(4)]
    assert sides[:3] == [1, 3, 7] and sides[3] == 11


def test_sizes_get_no_gradient_from_the_offsets():
    head = GuidedAnchorHead((16, 16, 16), num_classes=2)
    guide = paddle.rand([1, 8, 3, 3])
    guide.stop_gradient = False
    head.adaption[0](paddle.rand([1, 16, 3, 3]), guide).sum().backward()
    assert guide.grad is None
    assert head.adaption[0].conv_offset.weight.grad is not None


def test_anchors_by_name_and_by_number():
    right, wrong = (GuidedAnchorHead((8, 8, 8), anchors=name) for name in ("yolov3", "asff"))
    assert right.levels[0].anchors == ((116, 90), (156, 198), (373, 326), (128, 128))
    assert wrong.levels[0].anchors == ((116, 90), (156, 198), (121, 240), (128, 128))
    assert wrong.levels[1].anchors[2] == (42, 119) and wrong.levels[2] == right.levels[2]
    assert ANCHOR_SETS["asff_mobile"][5] == (42, 119)
    assert ANCHOR_SETS["asff_mobile"][8] == (373, 326)
    own = GuidedAnchorHead((8, 8), anchors=[[8, 8], [90, 90]], anchor_masks=[[1], [0]])
    assert [level.anchors for level in own.levels] == [((90, 90), (128, 128)), ((8, 8), (64, 64))]
    with pytest.raises(ConfigError, match="rfb: found True"):
        GuidedAnchorHead(adaption=False, rfb=True)


def test_a_decoder_for_other_outputs_is_refused(repo):
    path = repo / "configs" / "asff" / "yolov3_asff_coco.yml"
    cfg = load_config(path, ["width_mult=0.125", "BBoxPostProcess.decode.name=YOLOBox"])
    with pytest.raises(ConfigError, match="decode: found YOLOBox.*GuidedYOLOBox"):
        create("YOLOv3", cfg)
    with pytest.raises(ConfigError, match="decode: found YOLOBox"):
        YOLOBox().check_levels(GuidedAnchorHead((8, 8, 8)).levels)


# ------------------------------------------------------------------------------------ loss by hand
def one_level(anchor=(32, 32)):
    """A level of stride 32 with one anchor and one class in an image of one cell."""
    head = GuidedAnchorHead((8,), anchors=[anchor], anchor_masks=[[0]], num_classes=1)
    raw = np.zeros((1, 2 * 2 + 2 * 6, 1, 1), np.float32)
    return head, raw


def losses(head, raw, boxes, scores=None, **settings):
    batch = {
        "gt_bbox": paddle.to_tensor(np.float32([boxes])),
        "gt_class": paddle.zeros([1, len(boxes)], dtype="int64"),
    }
    if scores is not None:
        batch["gt_score"] = paddle.to_tensor(np.float32([scores]))
    loss, output = GuidedAnchorLoss(1, **settings), paddle.to_tensor(raw, stop_gradient=False)
    terms = loss([output], batch, head.levels, head.anchors, head.anchor_masks)
    terms["loss"].backward()
    return {key: float(value) for key, value in terms.items()}, output.grad.numpy()[0, :, 0, 0]


def test_terms_of_one_object_by_hand():
    """Box of 16 x 32 px in the middle of the only cell. Its shape overlaps the anchor of 32 x 32 by
    1/2, the free square of 128 by 1/32; the predicted box is the anchor's."""
    head, raw = one_level()
    found, gradient = losses(head, raw, [(0.5, 0.5, 0.5, 1.0)], scores=[0.25])
    scale = 2 - 0.5
    assert found["loss_anchor"] == pytest.approx((1 - 1 / 4) + (1 - 1 / 1024), rel=1e-6)
    assert found["loss_iou"] == pytest.approx(scale * (1 - 1 / 4), rel=1e-6)
    assert found["loss_l1"] == pytest.approx(scale * (2 * math.log(2) + math.log(2)), rel=1e-6)
    # The free box, 128 x 128, overlaps the object by less than the threshold: it counts fully.
    assert found["loss_obj"] == pytest.approx((0.25 + 1) * math.log(2), rel=1e-6)
    assert found["loss_cls"] == pytest.approx(math.log(2), rel=1e-6)
    # The width of the anchor's guide: d(1 - IoU^2)/dw and scale times the same of the box, with
    # IoU = 1 / (2 e^w); L1 of -w - ln(16 / 32 e^-w) has a slope of 1 in both w.
    assert gradient[0] == pytest.approx(0.5 + scale * (0.5 + 1), rel=1e-5)
    assert gradient[4 + 2] == pytest.approx(scale * (0.5 + 1), rel=1e-5)
    assert gradient[4 + 4] == pytest.approx(0.25 * -0.5, rel=1e-6)


def test_the_free_box_takes_what_it_fits_better():
    head, raw = one_level()
    raw[0, 2:4] = math.log(0.25)  # the free square is guided to 32 x 32: as good as the anchor
    equal, _ = losses(head, raw, [(0.5, 0.5, 0.5, 1.0)])
    raw[0, 2] = math.log(0.2)
    _, gradient = losses(head, raw, [(0.5, 0.5, 0.5, 1.0)])
    assert equal["loss_cls"] == pytest.approx(math.log(2), rel=1e-6)
    assert gradient[4 + 5] == 0 and gradient[4 + 6 + 5] == pytest.approx(-0.5)


def test_cells_whose_box_fits_an_object_are_ignored():
    head, raw = one_level()
    raw[0, 2:4] = math.log(0.25)  # both boxes are the object
    found, gradient = losses(head, raw, [(0.5, 0.5, 1.0, 1.0)])
    assert found["loss_obj"] == pytest.approx(math.log(2), rel=1e-6)
    assert gradient[4 + 6 + 4] == 0
    kept, _ = losses(head, raw, [(0.5, 0.5, 1.0, 1.0)], ignore_thresh=1.0)
    assert kept["loss_obj"] == pytest.approx(2 * math.log(2), rel=1e-6)


@pytest.mark.parametrize(("classes", "rare"), [(1, 0.05), (2, 0.05), (20, 0.05), (80, 1 / 80)])
def test_smoothed_classes_still_tell_them_apart(classes, rare):
    """The gradient of a logit of 0 is 1/2 - target."""
    head = GuidedAnchorHead((8,), anchors=[[32, 32]], anchor_masks=[[0]], num_classes=classes)
    output = paddle.zeros([1, 2 * (7 + classes), 1, 1])
    output.stop_gradient = False
    batch = {
        "gt_bbox": paddle.full([1, 1, 4], 0.5),
        "gt_class": paddle.full([1, 1], classes - 1, "int64"),
    }
    loss = GuidedAnchorLoss(classes, label_smooth=True)
    terms = loss([output], batch, head.levels, head.anchors, head.anchor_masks)
    terms["loss"].backward()
    found = 0.5 - output.grad.numpy()[0, 4 + 5 : 4 + 5 + classes, 0, 0]
    np.testing.assert_allclose(found, [rare] * (classes - 1) + [1 - rare], atol=1e-6)


def test_images_without_objects():
    head, raw = one_level()
    found, gradient = losses(head, raw, [(0.0, 0.0, 0.0, 0.0)])
    assert found == {
        "loss_obj": pytest.approx(2 * math.log(2)),
        "loss": pytest.approx(2 * math.log(2)),
        **dict.fromkeys(("loss_anchor", "loss_iou", "loss_l1", "loss_cls"), 0.0),
    }
    assert not gradient[:4].any()


def test_targets_of_the_reader_are_refused():
    head, raw = one_level()
    with pytest.raises(ConfigError, match="gt_class"):
        head.get_loss([paddle.to_tensor(raw)], {"gt_bbox": paddle.zeros([1, 1, 4])})
