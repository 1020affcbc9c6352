"""What decides that an export is refused."""
