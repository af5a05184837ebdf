"""Training: planning, the training loop, checkpoints, time budget and automatic fixes."""
