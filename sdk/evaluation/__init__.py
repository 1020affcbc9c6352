"""How good a network is, and how sure one can be of that."""
