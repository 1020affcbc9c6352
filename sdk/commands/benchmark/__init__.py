"""What `leansight bench` is made of."""
