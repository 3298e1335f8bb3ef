"""The convolutions of networks in the order of darknet's files, under the names they have here."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Convolution(NamedTuple):
    """A convolution of a darknet network; without norm it has a bias."""

    name: str
    ch_in: int
    ch_out: int
    size: int
    has_norm: bool = True
    groups: int = 1

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of its weights."""
        return self.ch_out, self.ch_in // self.groups, self.size, self.size

    @property
    def values(self) -> int:
        """Numbers that it takes in a file."""
        return math.prod(self.shape) + self.ch_out * (4 if self.has_norm else 1)


Plan = Iterator[Convolution]


def yolov4(classes: int) -> Plan:
    """yolov4.cfg: `YOLOv4` with CSPDarknet53 and YOLOv4PAN."""
    yield from _csp_backbone(csp_first=True)
    yield from _panet_spp(classes, 1024)


def csp_resnext50_panet_spp(classes: int) -> Plan:
    """csresnext50-panet-spp.cfg: `YOLOv4` with CSPResNeXt50 and YOLOv4PAN."""
    yield from _resnext_backbone()
    yield from _panet_spp(classes, 2048)


def yolov4_csp(classes: int) -> Plan:
    """yolov4-csp.cfg: `YOLOv4` with CSPDarknet53 and YOLOv4CSPPAN."""
    yield from _csp_backbone(csp_first=False)
    yield Convolution("neck.spp.shortcut", 1024, 512, 1)
    yield from _row("neck.spp.before", 1024, [(512, 1), (512, 3), (512, 1)])
    yield from _row("neck.spp.after", 2048, [(512, 1), (512, 3)])
    yield Convolution("neck.spp.transition", 1024, 512, 1)

    def fusion(name: str, width: int) -> Plan:
        yield Convolution(f"{name}.entry", 2 * width, width, 1)
        yield Convolution(f"{name}.shortcut", width, width, 1)
        yield from _row(f"{name}.convs", width, [(width, 1), (width, 3)] * 2)
        yield Convolution(f"{name}.transition", 2 * width, width, 1)

    yield from _pan(classes, fusion, 1024)


def yolov4_tiny(classes: int) -> Plan:
    """yolov4-tiny.cfg: `YOLOv4` with CSPDarknetTiny and YOLOv4TinyFPN."""
    yield from _row("backbone.stem", 3, [(32, 3), (64, 3)])
    for i, width in enumerate((64, 128, 256)):
        name, half = f"backbone.blocks.{i}", width // 2
        yield Convolution(f"{name}.entry", width, width, 3)
        yield Convolution(f"{name}.conv1", half, half, 3)
        yield Convolution(f"{name}.conv2", half, half, 3)
        yield Convolution(f"{name}.transition", width, width, 1)
    yield Convolution("backbone.last", 512, 512, 3)
    yield Convolution("neck.coarse", 512, 256, 1)
    yield from _head(0, 256, 512, classes)
    yield Convolution("neck.reduction", 256, 128, 1)
    yield from _head(1, 384, 256, classes)


def yolov3(classes: int) -> Plan:
    """yolov3.cfg: `YOLOv3` with DarkNet and YOLOv3FPN."""
    yield Convolution("backbone.conv0", 3, 32, 3)
    yield Convolution("backbone.downsample0.conv_bn_layer", 32, 64, 3)
    width = 64
    for i, blocks in enumerate((1, 2, 8, 8, 4)):
        stage = f"backbone.stage.{i}"
        for name in ("basicblock0", *(f"stage.{i}.{j}" for j in range(1, blocks))):
            yield Convolution(f"{stage}.{name}.conv1", width, width // 2, 1)
            yield Convolution(f"{stage}.{name}.conv2", width // 2, width, 3)
        if i < 4:
            yield Convolution(f"{stage}.downsample.conv_bn_layer", width, 2 * width, 3)
            width *= 2
    for i, width in enumerate((512, 256, 128)):
        block, ch_in = f"neck.yolo_block.{i}", (3 * width if i else 1024)
        names = ("conv_module.conv0", "conv_module.conv2", "conv_module.route")
        for name, wide in zip(names, ("conv_module.conv1", "conv_module.conv3", "tip")):
            yield Convolution(f"{block}.{name}", ch_in, width, 1)
            yield Convolution(f"{block}.{wide}", width, 2 * width, 3)
            ch_in = 2 * width
        yield Convolution(f"yolo_head.yolo_output.{i}", ch_in, 3 * (5 + classes), 1, False)
        if i < 2:
            yield Convolution(f"neck.yolo_transition.{i}", width, width // 2, 1)


PLANS: dict[str, Callable[[int], Plan]] = {
    "yolov4": yolov4,
    "yolov4-csp": yolov4_csp,
    "yolov4-tiny": yolov4_tiny,
    "yolov3": yolov3,
    "csresnext50-panet-spp": csp_resnext50_panet_spp,
}
"""Name of the network in darknet -> its convolutions for a number of classes."""

LAST_OF_CLASSIFIERS = "classifier"
"""Name of the last convolution of classifiers, which detectors do not have."""


def csp_darknet53_classifier(classes: int) -> Plan:
    """csdarknet53.cfg of CSPNet's authors, and its forms gamma and omega: CSPDarknet53."""
    yield from _csp_backbone(csp_first=True)
    yield Convolution(LAST_OF_CLASSIFIERS, 1024, classes, 1, False)


def csp_resnext50_classifier(classes: int) -> Plan:
    """csresnext50.cfg of CSPNet's authors, and its forms gamma and omega: CSPResNeXt50."""
    yield from _resnext_backbone()
    yield Convolution(LAST_OF_CLASSIFIERS, 2048, classes, 1, False)


CLASSIFIERS: dict[str, Callable[[int], Plan]] = {
    "csdarknet53": csp_darknet53_classifier,
    "csresnext50": csp_resnext50_classifier,
}
"""As `PLANS`, classifiers: what training of a detector starts from."""


def _row(name: str, ch_in: int, convs: list[tuple[int, int]]) -> Plan:
    """Convolutions `name.0`, `name.1`, ... of the given channels and sizes."""
    for i, (ch_out, size) in enumerate(convs):
        yield Convolution(f"{name}.{i}", ch_in, ch_out, size)
        ch_in = ch_out


def _csp_backbone(csp_first: bool) -> Plan:
    yield Convolution("backbone.stem", 3, 32, 3)
    ch_in = 32
    for i, blocks in enumerate((1, 2, 8, 8, 4)):
        stage, width = f"backbone.stages.{i}", 2 * ch_in
        if i == 0 and not csp_first:
            yield Convolution(f"{stage}.0", ch_in, width, 3)
            yield from _unit(f"{stage}.1", width, width // 2)
        else:
            branch = width // 2 if i else width
            yield Convolution(f"{stage}.downsample", ch_in, width, 3)
            yield Convolution(f"{stage}.shortcut", width, branch, 1)
            yield Convolution(f"{stage}.entry", width, branch, 1)
            for j in range(blocks):
                yield from _unit(f"{stage}.blocks.{j}", branch, width // 2)
            yield Convolution(f"{stage}.exit", branch, branch, 1)
            yield Convolution(f"{stage}.transition", 2 * branch, width, 1)
        ch_in = width


def _unit(name: str, channels: int, hidden: int) -> Plan:
    yield Convolution(f"{name}.conv1", channels, hidden, 1)
    yield Convolution(f"{name}.conv2", hidden, channels, 3)


def _resnext_backbone() -> Plan:
    yield Convolution("backbone.stem", 3, 64, 7)
    for i, blocks in enumerate((3, 3, 5, 2)):
        stage, width = f"backbone.stages.{i}", 128 * 2**i
        ch_in = entry = width if i else 64
        if i:
            yield Convolution(f"{stage}.downsample", ch_in, ch_in, 3, groups=32)
        yield Convolution(f"{stage}.shortcut", ch_in, width, 1)
        yield Convolution(f"{stage}.entry", ch_in, entry, 1)
        for j in range(blocks):
            unit = f"{stage}.blocks.{j}"
            yield Convolution(f"{unit}.conv1", width if j else entry, width, 1)
            yield Convolution(f"{unit}.conv2", width, width, 3, groups=32)
            yield Convolution(f"{unit}.conv3", width, width, 1)
        yield Convolution(f"{stage}.exit", width, width, 1)
        yield Convolution(f"{stage}.transition", 2 * width, 2 * width, 1)


def _panet_spp(classes: int, ch_in: int) -> Plan:
    """YOLOv4PAN and the head; `ch_in` channels come from the last stage."""
    yield from _row("neck.spp.before", ch_in, [(512, 1), (1024, 3), (512, 1)])
    yield from _row("neck.spp.after", 2048, [(512, 1), (1024, 3), (512, 1)])

    def fusion(name: str, width: int) -> Plan:
        yield from _row(f"{name}.convs", 2 * width, [(width, 1), (2 * width, 3)] * 2 + [(width, 1)])

    yield from _pan(classes, fusion, ch_in)


def _pan(classes: int, fusion: Callable[[str, int], Plan], ch_in: int) -> Plan:
    """Both paths of the neck, and the head, whose levels come as soon as their map is there;
    `ch_in` channels come from the last stage, half of them from the one before, and so on."""
    for i, width in enumerate((256, 128)):
        yield Convolution(f"neck.reductions.{i}", 2 * width, width, 1)
        yield Convolution(f"neck.laterals.{i}", ch_in // 2 ** (i + 1), width, 1)
        yield from fusion(f"neck.top_down.{i}", width)
    yield from _head(0, 128, 256, classes)
    for i, width in enumerate((256, 512)):
        yield Convolution(f"neck.downsamples.{i}", width // 2, width, 3)
        yield from fusion(f"neck.bottom_up.{i}", width)
        yield from _head(i + 1, width, 2 * width, classes)


def _head(level: int, ch_in: int, width: int, classes: int) -> Plan:
    yield Convolution(f"yolo_head.yolo_conv.{level}", ch_in, width, 3)
    yield Convolution(f"yolo_head.yolo_output.{level}", width, 3 * (5 + classes), 1, False)
