"""Inference without torch: sliding windows, decoding, exported networks, and writing answers."""
