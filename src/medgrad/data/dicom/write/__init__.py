"""Answers written as DICOM objects."""
