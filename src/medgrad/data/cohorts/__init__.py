"""Cohorts: patients and their cases, splits, and the folder layouts that are recognised."""

from .cohort import Cohort, Entry

__all__ = ["Cohort", "Entry"]
