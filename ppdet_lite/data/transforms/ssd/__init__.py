"""The augmentation of ASFF's YOLOv3, which comes from SSD (arXiv:1512.02325)."""
