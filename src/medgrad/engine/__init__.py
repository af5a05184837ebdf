"""Floor 5: recipe, plan, cache, sampling, training, answering, evaluating."""
