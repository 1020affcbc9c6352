"""The `leansight` command: one file a sub-command, and what they share."""
