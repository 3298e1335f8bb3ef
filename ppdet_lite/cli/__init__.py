"""Command line helpers."""
