"""Float16 forms of exported graphs."""
