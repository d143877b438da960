"""Exports that nobody has to ask for: an ONNX row whose file is made from another model's published weights."""
