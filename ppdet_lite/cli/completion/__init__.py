"""Completion of the command line `ppdet` in shells."""
