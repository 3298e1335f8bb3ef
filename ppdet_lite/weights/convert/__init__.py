"""Weights of other projects as state dicts of models here, one project per file."""
