"""A process of its own that reads a source, and who watches it."""
