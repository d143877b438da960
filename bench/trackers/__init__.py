"""Log the figures of a study to MLflow or Weights & Biases."""
