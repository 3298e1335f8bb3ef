"""A configuration for a folder of labeled images: what is set from the data, and how."""
