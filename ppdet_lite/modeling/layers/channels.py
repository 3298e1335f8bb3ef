"""Channel counts of narrowed networks."""

from ppdet_lite.core.errors import ConfigError


def scale_channels(channels: int, width_mult: float) -> int:
    """`channels` times `width_mult`, rounded to a multiple of 8, at least 8; exact at factor 1.

    Raises:
        ConfigError: the factor is not positive.
    """
    if width_mult <= 0:
        raise ConfigError(f"width_mult: found {width_mult}, allowed: a number above 0")
    if width_mult == 1:
        return channels
    return max(8, int(channels * width_mult / 8 + 0.5) * 8)


def check_data_format(data_format: str) -> None:
    """Refuses channel-last layouts, which no part of this package is written for.

    Raises:
        ConfigError: `data_format` is not NCHW.
    """
    if data_format != "NCHW":
        raise ConfigError(f"data_format: found '{data_format}', allowed: 'NCHW'")
