"""What a process and its machine tell of themselves while something is measured."""
