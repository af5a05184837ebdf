"""Prediction pipeline: inputs are read, predicted and written concurrently, within a memory limit."""
