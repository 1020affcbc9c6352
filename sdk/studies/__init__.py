"""Many trainings: folds, a grid of hyperparameters, seeds."""
