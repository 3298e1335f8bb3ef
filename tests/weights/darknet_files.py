"""Files of darknet's yolov4-tiny with two classes."""

import numpy as np

from ppdet_lite.weights.convert.darknet import NORM_LEAVES
from ppdet_lite.weights.convert.darknet_plans import PLANS

CLASSES, SEEN = 2, 5_000_000_000

# The network of yolov4-tiny.cfg for two classes.
TINY_BLOCK = """
[convolutional]
batch_normalize=1
filters={0}
size=3
[route]
layers=-1
groups=2
group_id=1
[convolutional]
batch_normalize=1
filters={1}
size=3
[convolutional]
batch_normalize=1
filters={1}
size=3
[route]
layers = -1,-2
[convolutional]
batch_normalize=1
filters={0}
size=1
[route]
layers = -6,-1
[maxpool]
size=2
stride=2
"""


def norm_conv(filters, size):
    return f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\n"


def output(filters):
    return f"[convolutional]\nsize=1\nfilters={filters}\nactivation=linear\n[yolo]\nmask = 3,4,5\n"


TINY_CFG = "".join(
    [
        "# of a test\n[net]\nwidth=416\nchannels=3\n",
        norm_conv(32, 3),
        norm_conv(64, 3),
        *(TINY_BLOCK.format(width, width // 2) for width in (64, 128, 256)),
        *(norm_conv(512, 3), norm_conv(256, 1), norm_conv(512, 3), output(21)),
        "[route]\nlayers = -4\n",
        norm_conv(128, 1),
        "[upsample]\nstride=2\n[route]\nlayers = -1, 23\n",
        *(norm_conv(256, 3), output(21)),
    ]
)


def tiny_weights():
    """Values of yolov4-tiny with two classes under the names here, and the bytes of its file."""
    rng = np.random.default_rng(0)
    state, numbers = {}, []
    for conv in PLANS["yolov4-tiny"](CLASSES):
        leaves = [f"{conv.name}.batch_norm.{leaf}" for leaf in NORM_LEAVES]
        kernel = f"{conv.name}.conv.weight"
        if not conv.has_norm:
            leaves, kernel = [f"{conv.name}.bias"], f"{conv.name}.weight"
        for name in leaves:
            state[name] = rng.uniform(0.5, 1.5, conv.ch_out).astype(np.float32)
        state[kernel] = rng.normal(0, 0.05, conv.shape).astype(np.float32)
        numbers += [state[name].tobytes() for name in (*leaves, kernel)]
    header = np.array([0, 2, 5], "<i4").tobytes() + np.array([SEEN], "<u8").tobytes()
    return state, header + b"".join(numbers)


def numbered(path, convs):
    """Writes a file of these convolutions, whose numbers count up."""
    count = sum(conv.values for conv in convs)
    header = np.array([0, 2, 5], "<i4").tobytes() + np.array([SEEN], "<u8").tobytes()
    path.write_bytes(header + np.arange(1, 1 + count, dtype="<f4").tobytes())
    return path


def leading(network, last):
    """The convolutions of a network up to the one named `last`."""
    plan = list(PLANS[network](80))
    return plan[: 1 + [conv.name for conv in plan].index(last)]
