"""Which channels of a network can go."""
