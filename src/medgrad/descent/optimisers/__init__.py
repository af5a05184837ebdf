"""One optimiser a file: ``THIS(parameters, *, rate, **settings) -> torch.optim.Optimizer``.

It is always stepped with a closure that makes the gradients anew and gives the loss.
"""
