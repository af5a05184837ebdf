"""How gradients come to be and what is done with them: optimisers, schedules, stopping rules, solvers."""
