"""Results on a screen: one line, a picture, a window."""
