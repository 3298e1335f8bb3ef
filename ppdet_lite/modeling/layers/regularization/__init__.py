"""Layers that regularize training."""
