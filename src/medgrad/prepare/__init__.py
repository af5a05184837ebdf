"""Exact, undoable image processing, Case to Case."""

from ._step import Step, build_steps, prepare, restore

__all__ = ["Step", "build_steps", "prepare", "restore"]
