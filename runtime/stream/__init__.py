"""Frames over time: what each shows, whether the stream is well, and what was seen when."""
