"""A user's ONNX graph before it is read: one float32 image in, one output, standard operators."""
