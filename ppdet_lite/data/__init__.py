"""From annotation files and pictures to batches; never imports paddle."""
