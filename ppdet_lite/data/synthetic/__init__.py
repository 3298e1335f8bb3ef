"""A small labelled data set drawn by program."""
