"""Networks rewritten for inference: the same boxes from fewer or faster operators."""
