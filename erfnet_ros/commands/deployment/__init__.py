"""Commands that prepare a checkpoint for a robot: calibration, ONNX, TensorRT engines."""
