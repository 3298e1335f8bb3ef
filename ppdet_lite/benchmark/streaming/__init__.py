"""Accuracy and latency together: an exported model on a video that does not wait for it."""
