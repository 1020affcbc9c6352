"""Data, recipes, training and the `leansight` command."""
