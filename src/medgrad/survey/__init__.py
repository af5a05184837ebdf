"""A set looked at once: sizes, faults, leaks."""
