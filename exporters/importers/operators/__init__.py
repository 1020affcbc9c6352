"""ONNX's operators as torch functions, a file for each kind, and the table of all."""
