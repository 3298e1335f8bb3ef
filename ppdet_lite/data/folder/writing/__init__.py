"""Writing data sets: COCO, Pascal VOC, YOLO."""
