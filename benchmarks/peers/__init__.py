"""Other runtimes, each in an environment of its own: the same file, the same pictures."""
