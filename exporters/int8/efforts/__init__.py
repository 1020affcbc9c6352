"""Both int8 files again and again, each time made with more effort to be like the float network."""
