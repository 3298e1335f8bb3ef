"""INT8 forms of exported graphs."""
