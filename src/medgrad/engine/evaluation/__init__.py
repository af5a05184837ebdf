"""Evaluation: inference, metrics with intervals, calibration, window settings, and comparison of runs."""
