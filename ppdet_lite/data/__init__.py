"""From annotation files and images to batches; never imports paddle."""
