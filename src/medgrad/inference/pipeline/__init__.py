"""From an input to a written answer: read, answered and written side by side, within the memory there is."""
