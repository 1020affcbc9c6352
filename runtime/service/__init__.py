"""What a running stream tells to people and programs, and how it is kept running."""
