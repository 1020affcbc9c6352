"""What `leansight export` is made of."""
