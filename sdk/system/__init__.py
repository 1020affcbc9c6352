"""Files, locks, processes and the terminal."""
