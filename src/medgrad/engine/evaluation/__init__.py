"""Answers judged: calibration, windows, intervals, comparison."""
