"""A run as something that a foreign runtime can answer with: one target a file."""
