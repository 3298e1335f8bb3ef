"""The check of everything that runs on a GPU, on a machine with one."""
