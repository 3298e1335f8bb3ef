"""Curves of a training for VisualDL, TensorBoard, Weights & Biases and MLflow."""
