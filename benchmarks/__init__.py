"""Size, MACs, memory and latency of models, measured honestly."""
