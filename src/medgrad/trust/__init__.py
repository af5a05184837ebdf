"""What makes a number believable: intervals, paired tests, calibration, leaks."""
