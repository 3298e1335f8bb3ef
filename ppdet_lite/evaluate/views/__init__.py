"""Detection on several views of an image: tiles of large ones, flipped and scaled copies."""
