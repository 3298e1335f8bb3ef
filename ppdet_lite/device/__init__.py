"""The device a run computes on and the processes that share it."""
