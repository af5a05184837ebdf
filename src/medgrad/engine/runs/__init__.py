"""A run and its files: recipe, checkpoints, provenance, training data."""
