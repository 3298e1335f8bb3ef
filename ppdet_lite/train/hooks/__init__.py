"""Hooks: all that happens around a training step, each independent of the others."""
