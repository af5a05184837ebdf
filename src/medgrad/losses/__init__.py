"""Losses, one a file: ``THIS(output, target) -> Tensor``."""
