"""Gradient methods: optimisers, gradient rules, schedules, samplers, stopping rules, convex solvers."""
