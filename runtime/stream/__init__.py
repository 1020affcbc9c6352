"""Frames over time: sources, and the stream that keeps the newest."""
