"""Runs ONNX files with OpenVINO."""
