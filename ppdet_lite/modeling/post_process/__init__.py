"""From raw outputs to detections: box decoders, NMS, and both in one layer."""
