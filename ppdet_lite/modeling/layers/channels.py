"""Channel counts of narrowed networks."""

from ppdet_lite.modeling.arguments import above_zero, check_arguments


def scale_channels(channels: int, width_mult: float) -> int:
    """`channels` times `width_mult`, rounded to a multiple of 8, at least 8; exact at factor 1."""
    check_arguments(above_zero("width_mult", width_mult))
    if width_mult == 1:
        return channels
    return max(8, int(channels * width_mult / 8 + 0.5) * 8)
