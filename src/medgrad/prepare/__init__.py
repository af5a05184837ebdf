"""Floor 1: exact, undoable image processing, Case to Case."""
