"""Runs ONNX files: how they are read, what their outputs mean, and ONNX Runtime as the runtime."""
