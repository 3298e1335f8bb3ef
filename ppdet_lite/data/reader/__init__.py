"""Readers: from records to batches, in worker processes and in a fixed order."""
