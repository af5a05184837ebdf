"""Floor 1: what makes a number believable."""
