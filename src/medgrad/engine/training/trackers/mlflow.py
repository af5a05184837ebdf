"""MLflow tracker: logs the figures of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ....errors import require_package
from . import LogFigures


def mlflow(folder: Path) -> LogFigures:
    """Log to the configured MLflow store (MLFLOW_TRACKING_URI), else to ``mlruns`` beside the run."""
    client = require_package("mlflow", extra="mlflow")
    import os

    if not os.environ.get("MLFLOW_TRACKING_URI"):
        client.set_tracking_uri(f"sqlite:///{(folder.parent / 'mlruns.db').resolve()}")
    client.set_experiment("medgrad")
    client.start_run(run_name=folder.name)

    def log_figures(step: int, figures: Mapping[str, float]) -> None:
        client.log_metrics({k.replace("@", "-at-"): float(v) for k, v in figures.items()}, step=step)

    return log_figures


mlflow.needs = ("mlflow", "mlflow")  # type: ignore[attr-defined]
THIS = mlflow
