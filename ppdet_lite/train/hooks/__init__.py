"""What happens around a training step; each hook is independent of the others."""
