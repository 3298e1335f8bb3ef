"""Data sets as tools leave them in a folder: recognizing, splitting, converting, merging."""
