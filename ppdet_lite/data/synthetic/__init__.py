"""A small labeled data set drawn by program."""
