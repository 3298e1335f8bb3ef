"""From a trained model to files for deployment, checked against it."""
