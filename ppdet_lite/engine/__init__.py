"""Training, evaluation, prediction and export: the loops around a detector."""
