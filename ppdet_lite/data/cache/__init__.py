"""The image cache of the readers, in shared memory or in a folder."""
