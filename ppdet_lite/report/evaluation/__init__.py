"""The report of an evaluation: numbers, charts, drawn errors."""
