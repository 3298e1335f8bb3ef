"""Formats of labeling tools: labelme, labelImg, darknet's lists, CSV tables."""
