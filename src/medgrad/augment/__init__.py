"""Floor 2: random changes, batched, on the device: drawn, then applied."""
