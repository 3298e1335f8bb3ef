"""Commands for weight files."""
