"""Training: the run, its loop, its state and its hooks."""
