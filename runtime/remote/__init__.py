"""Another machine, reached by the system's own `ssh`."""
