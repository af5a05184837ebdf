"""Image registration by gradient descent on the transform."""
