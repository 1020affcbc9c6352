"""Drawn traffic signs of two made-up countries, and videos of them."""
