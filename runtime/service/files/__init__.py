"""Results in files: JSON lines and video."""
