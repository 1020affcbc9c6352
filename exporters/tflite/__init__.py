"""A TFLite file: its bytes read and written, its graph looked at."""
