"""Search for a smaller network in stages, with baselines to compare it with."""
