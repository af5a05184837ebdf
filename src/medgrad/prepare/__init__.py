"""Exact, undoable image processing, Case to Case."""
