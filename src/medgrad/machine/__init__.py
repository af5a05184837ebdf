"""What this machine offers: processor cores and memory."""
