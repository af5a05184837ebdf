"""Exact solutions of the convex problems, with a certificate each: ``THIS(rows, signs, *, C=1.0, ...)``.

A certificate is a point of the dual problem. Its value lies below every value that the primal problem can take, so the
gap between the two bounds how far a solution is from the best one, whatever became of the method that found it.
"""

from ._solver import Solution, Unsolved

__all__ = ["Solution", "Unsolved"]
