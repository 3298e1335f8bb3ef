"""Figures of results beside published ones."""
