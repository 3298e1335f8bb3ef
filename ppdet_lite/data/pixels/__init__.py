"""Pixels: decoding, lazy images, color, resampling; needs numpy and OpenCV only."""
