"""Rules that give objects to predictions, one per file."""
