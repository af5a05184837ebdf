"""Exact, undoable image processing, Case to Case."""

from ._step import Memo, Step, build_steps, changed, prepare

__all__ = ["Memo", "Step", "build_steps", "changed", "prepare"]
