"""What a weight is worth, by what the gradients say: one criterion a file, ``THIS(**settings)``."""

from ._criterion import Criterion, Scores, frozen_statistics, loss_of_part

__all__ = ["Criterion", "Scores", "frozen_statistics", "loss_of_part"]
