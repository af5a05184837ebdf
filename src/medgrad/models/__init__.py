"""Floor 2: networks, one architecture a file: ``THIS(inputs, outputs, dims, **settings)``."""
