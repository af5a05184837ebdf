"""Networks made smaller by what their gradients say, and no worse."""
