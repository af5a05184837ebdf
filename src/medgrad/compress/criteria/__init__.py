"""Pruning criteria, one a file: ``THIS(**settings)`` gives an importance score for each weight."""

from ._criterion import Criterion, Scores, batch_loss, frozen_statistics

__all__ = ["Criterion", "Scores", "batch_loss", "frozen_statistics"]
