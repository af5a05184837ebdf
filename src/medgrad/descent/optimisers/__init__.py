"""One optimiser a file: ``THIS(parameters, rate, **settings) -> Optimizer``."""
