"""A bundle comes to a machine: versions beside each other, one at work, and the way back."""
