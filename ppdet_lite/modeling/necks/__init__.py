"""The necks of the detectors, one per file."""
