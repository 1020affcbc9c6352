"""From a trained network to a verified int8 bundle: quantize, convert, verify, write."""
