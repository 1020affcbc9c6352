"""The search for bundles that are right, small and fast: the Pareto front."""
