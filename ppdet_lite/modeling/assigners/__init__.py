"""Which prediction answers for which object, one rule per file."""
