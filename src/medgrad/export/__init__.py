"""A run as a file that a foreign runtime can answer with, one target a file."""

from ._export import export

__all__ = ["export"]
