"""One schedule a file: ``THIS(**settings)(done) -> factor`` of the rate, ``done`` from 0 to 1 of the budget."""
