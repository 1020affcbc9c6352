"""Labelled images: found, split, checked, described."""
