"""Weight files and checkpoints: reading, writing, matching with a model."""
