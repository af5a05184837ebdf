"""Backends that run an exported network, one per file."""

from ._backend import disable_telemetry

__all__ = ["disable_telemetry"]
