"""Export a run as an artefact that other runtimes can run, one target per file."""

from ._export import export

__all__ = ["export"]
