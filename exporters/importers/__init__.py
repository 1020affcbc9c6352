"""Networks from elsewhere: ONNX and Keras files become torch networks."""
