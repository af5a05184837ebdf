"""What runs an exported network: one runtime a file."""

from ._backend import without_telemetry

__all__ = ["without_telemetry"]
