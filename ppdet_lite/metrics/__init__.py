"""Detection metrics: COCO and Pascal VOC."""
