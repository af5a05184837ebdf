"""Statistics of results: confidence intervals, paired tests, calibration, leaks."""
