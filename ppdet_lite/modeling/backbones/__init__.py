"""The backbones of the detectors, one per file."""
