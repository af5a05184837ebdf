"""Sections of a run's page, one a file: ``THIS`` is a ``Section``, and the file's name its anchor."""
