"""The machine: available CPU cores and memory allocation."""
