"""The entries of a reader's transform lists, one concept per file."""
