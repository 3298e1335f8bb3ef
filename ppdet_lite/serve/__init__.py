"""Exported models as an HTTP service."""
