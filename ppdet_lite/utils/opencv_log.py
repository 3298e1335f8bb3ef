"""The log of OpenCV."""

import cv2


def silence_opencv() -> None:
    """Leaves out OpenCV's own lines on standard error; its errors are raised all the same."""
    # Older OpenCV releases have no such function.
    set_level = getattr(getattr(cv2.utils, "logging", None), "setLogLevel", None)
    if set_level is not None:
        set_level(0)
