"""Networks, one architecture a file: ``THIS(inputs, outputs, dims, **settings)``."""
