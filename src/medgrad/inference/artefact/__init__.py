"""Exported networks (artefacts): opened, run by a backend, and compared with the run."""
