"""The augmentation of darknet, with which YOLOv4 was trained."""
