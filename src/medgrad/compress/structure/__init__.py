"""The channel groups of a network, their cost, and networks with channels removed."""
