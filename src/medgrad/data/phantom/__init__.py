"""A synthetic cohort whose truth is known, by seed."""
