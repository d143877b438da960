"""What becomes of the predictions: results of each image, the predictions file, and every figure of them."""
