"""Runs and imported networks become bundles."""
