"""What was measured: its types, its intervals, and how it is shown."""
