"""The losses of the detectors, one per file."""
