"""What detectors and heads answer to the code around them."""

import paddle
import pytest
from paddle import nn

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create
from ppdet_lite.modeling.contracts import Detector, Head
from ppdet_lite.modeling.detectors.yolox import YOLOX
from ppdet_lite.modeling.geometry.cell_grid import CellLevel

CLASSES = 2
SMALL = {"num_classes": CLASSES, "width_mult": 0.125, "depth_mult": 0.33}
YOLOV3 = {
    "ResNet": {"depth": 18, "return_idx": [2, 3]},
    "YOLOv3Head": {"anchor_masks": [[0, 1], [2]]},
}


@pytest.fixture(scope="module", params=["YOLOv3", "YOLOX"])
def detector(request):
    paddle.seed(0)
    return create(request.param, Config({**SMALL, **YOLOV3}))


def test_what_a_detector_answers(detector):
    detector.eval()
    image = paddle.zeros([1, 3, detector.largest_stride, 2 * detector.largest_stride])
    raw = detector.raw_outputs(image)
    assert len(raw) == len(detector.head.levels)
    assert max(level.stride for level in detector.head.levels) == detector.largest_stride == 32
    sizes = {"im_shape": paddle.to_tensor([[32.0, 64.0]]), "scale_factor": paddle.ones([1, 2])}
    boxes, scores = detector.decode(raw, **sizes)
    assert boxes.shape[1:] == [scores.shape[2], 4] and scores.shape[1] == CLASSES
    given = {name: {"image": image, **sizes}[name] for name in detector.inference_inputs}
    assert set(detector(given)) == {"bbox", "bbox_num"}
    named = ("YOLOX", 8) if isinstance(detector, YOLOX) else ("YOLO", 3)
    assert (detector.export_arch, detector.min_subgraph_size) == named


def test_objectness_stands_where_the_head_says(detector):
    detector.eval()
    image = paddle.zeros([1, 3, 64, 64])
    before = detector.raw_outputs(image)
    for conv, channels in detector.head.objectness_outputs():
        bias = conv.bias.numpy()
        bias[channels] += 1
        conv.bias.set_value(bias)
    raw = detector.raw_outputs(image)
    for old, new, (_, channels) in zip(before, raw, detector.head.objectness_outputs()):
        moved = (new - old).abs().max(axis=[0, 2, 3]).numpy()
        assert [i for i, value in enumerate(moved) if value > 0.5] == channels
    with pytest.raises(ConfigError, match="Head does not say"):
        Head().objectness_outputs()


class OwnHead(nn.Layer):
    """Derives from nothing of this package and keeps to what `Head` says."""

    num_classes = CLASSES
    levels = (CellLevel(32),)
    nms = nn.Identity()

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 5 + CLASSES, 1)

    def forward(self, features):
        return [self.conv(features)]

    def get_loss(self, outputs, batch):
        return {"loss": outputs[0].mean() + batch["gt_bbox"].sum()}


def test_a_head_of_ones_own():
    model = YOLOX(nn.AvgPool2D(32), nn.Identity(), OwnHead(), size_range=None)
    assert model.largest_stride == 32
    assert model.remarks(epochs=300, mosaic_epoch=35) == []
    batch = {"image": paddle.ones([1, 3, 64, 64]), "gt_bbox": paddle.ones([1, 1, 4])}
    model(batch)["loss"].backward()
    assert model.head.conv.weight.grad is not None


def test_a_detector_of_another_build():
    class Whole(Detector):
        largest_stride = 4

        def raw_outputs(self, image):
            return [image]

        def losses(self, outputs, batch):
            return {"loss": outputs[0].sum() * batch["weight"]}

    batch = {"image": paddle.ones([1, 3, 4, 4]), "weight": paddle.full([], 2.0)}
    assert float(Whole()(batch)["loss"]) == 96
    assert Whole().remarks(300, 35) == []


@pytest.fixture(scope="module")
def yolox():
    return create("YOLOX", Config(SMALL))


@pytest.mark.parametrize(("mosaic_epoch", "epochs"), [(35, 300), (35, 50), (0, 300), (300, 300)])
def test_mosaics_that_do_not_end_where_the_l1_term_begins(yolox, mosaic_epoch, epochs):
    (line,) = yolox.remarks(epochs, mosaic_epoch)
    keys = f"TrainReader.mosaic_epoch is {mosaic_epoch}, YOLOXHead.l1_epoch is 285 and epoch is "
    assert line.startswith(f"{keys}{epochs}: the L1 term should start when mosaics end")


def test_a_training_that_ends_before_mosaics_do(yolox):
    (line,) = yolox.remarks(50, 285)
    assert "mosaic_epoch is 285" in line and "the training ends before mosaics end" in line


@pytest.mark.parametrize(("epochs", "mosaic_epoch"), [(300, 285), (50, 0), (300, -1), (300, None)])
def test_last_epochs_that_agree_or_do_not_matter(yolox, epochs, mosaic_epoch):
    assert yolox.remarks(epochs, mosaic_epoch) == []
