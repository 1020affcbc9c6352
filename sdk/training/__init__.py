"""A recipe and images become weights."""
