"""A network as it was exported, answered with by an engine and numpy."""
