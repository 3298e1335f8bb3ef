"""Anchor levels and cell grids, which heads, losses and post-processing share."""
