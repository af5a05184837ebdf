"""Pruning criteria, one a file: ``THIS(**settings)`` gives an importance score for each weight."""

from ._criterion import Criterion, Scores, frozen_statistics, loss_of_part

__all__ = ["Criterion", "Scores", "frozen_statistics", "loss_of_part"]
