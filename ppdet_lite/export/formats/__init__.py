"""The file formats of an export."""
