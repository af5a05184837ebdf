"""Single weights at zero: masks and their schedule."""
