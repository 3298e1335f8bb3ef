"""The heads of the detectors, one per file."""
