"""Reversible preprocessing of cases."""

from ._step import Memo, Step, build_steps, changed, prepare

__all__ = ["Memo", "Step", "build_steps", "changed", "prepare"]
