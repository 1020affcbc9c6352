"""The commands that bring a bundle to a machine, and back."""
