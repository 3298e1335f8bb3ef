"""Pure functions on boxes and scores: geometry and non-maximum suppression."""
