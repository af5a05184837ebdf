"""Files of a run: recipe, checkpoints, provenance, training data."""
