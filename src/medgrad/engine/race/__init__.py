"""Benchmark of optimisers on one cohort."""
