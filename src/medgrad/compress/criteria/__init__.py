"""What a weight is worth, by what the gradients say: one criterion a file, ``THIS(**settings)``."""

from ._criterion import Criterion, Scores, loss_of_part, still

__all__ = ["Criterion", "Scores", "loss_of_part", "still"]
