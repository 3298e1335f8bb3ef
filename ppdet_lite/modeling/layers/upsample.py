"""Enlarging feature maps in a form that every inference engine takes."""

from paddle import Tensor


def upsample_x2(x: Tensor) -> Tensor:
    """Nearest-neighbor enlargement by two: [B, C, H, W] to [B, C, 2H, 2W].

    Written as reshape, expand, reshape because `F.interpolate` leaves an attribute in exported
    models that Paddle 3.3's oneDNN predictor and Paddle2ONNX refuse (Paddle issues 77340, 79749).
    """
    channels, height, width = x.shape[1:]
    x = x.reshape([-1, channels, height, 1, width, 1])
    x = x.expand([-1, -1, -1, 2, -1, 2])
    return x.reshape([-1, channels, height * 2, width * 2])
