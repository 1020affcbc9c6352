"""A torch network becomes float ONNX and TFLite graphs that compute the same."""
