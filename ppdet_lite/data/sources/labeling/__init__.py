"""Formats of labeling tools (labelme, labelImg, darknet, CSV), and parsers of label files."""
