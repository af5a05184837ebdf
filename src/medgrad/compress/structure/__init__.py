"""Which channels of a network belong together, what they cost, and a network without some of them."""
