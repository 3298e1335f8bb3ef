"""The Python interface: detectors, training and the list of shipped models, each in one call."""
