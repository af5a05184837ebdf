"""Compute: device and precision, fast convolutions on a CPU, and training in several processes."""
