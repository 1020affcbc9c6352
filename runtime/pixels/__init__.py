"""The steps from an image to a network's pixels: in C, or with OpenCV and numpy."""
