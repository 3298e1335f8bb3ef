"""Detectors: backbone, neck, head and post-processing joined to one model."""
