"""Prune networks by gradient criteria without a measurable loss of accuracy."""
