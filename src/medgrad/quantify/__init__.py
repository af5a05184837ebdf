"""Floor 1: what a radiologist measures and follows."""
