"""Ranges of activations become one int8 network in two files."""
