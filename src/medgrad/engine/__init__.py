"""Runs: plan, training, evaluation, prediction, races."""
