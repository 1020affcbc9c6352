"""A smaller run from a run."""
