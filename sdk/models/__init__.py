"""The networks that recipes name."""
