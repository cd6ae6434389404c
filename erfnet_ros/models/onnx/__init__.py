"""The Pipeline as an ONNX graph."""
