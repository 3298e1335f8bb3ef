"""Annotation formats: COCO json, Pascal VOC, YOLO txt, plain image folders."""
