"""The device, its convolutions, and several processes that learn one model."""
