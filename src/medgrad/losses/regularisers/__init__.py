"""Regularisers of displacement fields, one a file: ``THIS(**settings)(field) -> Tensor``; lower is smoother.

A field is (b, dims, *shape), in elements.
"""
