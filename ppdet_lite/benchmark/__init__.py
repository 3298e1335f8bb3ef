"""Measurements: inference by the protocol of the papers, readers, model size."""
