"""Backends that run an exported network, one per file."""

from ._backend import without_telemetry

__all__ = ["without_telemetry"]
