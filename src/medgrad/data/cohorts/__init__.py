"""Patients and their cases, how they are split, and the layouts in which folders hold them."""

from .cohort import Cohort, Entry

__all__ = ["Cohort", "Entry"]
