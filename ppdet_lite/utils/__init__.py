"""Small helpers without knowledge of detectors."""
