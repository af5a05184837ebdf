"""Training and evaluation: planning, recipes, the training loop, prediction, comparison of runs and of optimisers."""
