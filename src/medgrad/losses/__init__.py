"""Floor 2: one loss a file: ``THIS(output, target) -> Tensor``."""
