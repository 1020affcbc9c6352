"""Recipes: the TOML files that say how a network is trained, and what reads them."""
