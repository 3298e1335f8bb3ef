"""The inference engines, one per file."""
