"""Reader benchmark: samples per second against decoding alone."""
