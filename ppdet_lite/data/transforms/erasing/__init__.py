"""Parts of images hidden or exchanged: regularization of YOLOv4's bag of freebies."""
