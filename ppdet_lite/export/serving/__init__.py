"""An export as a service: repositories for Triton, images for containers."""
