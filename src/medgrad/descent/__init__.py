"""Floor 4: how gradients come to be, and what is done with them."""
