"""Look at a data set: sizes, issues, leaks."""
