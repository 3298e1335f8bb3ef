"""Finds what is wrong in a data set, repairs a copy of it, and counts what is in it."""
