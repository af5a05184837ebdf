"""Similarity measures of two images, one a file: ``THIS(**settings)(moved, fixed, weight=None) -> Tensor``.

Lower is better. Images are (b, channels, *shape); ``weight`` (b, 1, *shape) says how much each element
counts. Each measure of a batch is the mean of its samples' measures.
"""
