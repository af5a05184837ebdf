"""Floor 7: one self-contained page that shows what a run is worth."""
