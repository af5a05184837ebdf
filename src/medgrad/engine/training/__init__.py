"""The loop, and what leads to it and watches it."""
