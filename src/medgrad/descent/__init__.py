"""Gradient methods: optimisers, gradient rules, schedules, stopping rules, convex solvers."""
