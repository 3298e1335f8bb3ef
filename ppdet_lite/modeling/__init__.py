"""The detector: backbones, necks, heads, losses, post-processing."""
