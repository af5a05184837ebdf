"""Floor 1: (truth, answer) to plain numbers, one metric a file."""
