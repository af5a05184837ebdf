"""TensorBoard tracker: logs figures as event files in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ....errors import require_package
from . import LogFigures


def tensorboard(folder: Path) -> LogFigures:
    """Log to ``tensorboard/`` of the run; view it with ``tensorboard --logdir RUN``."""
    require_package("tensorboard", extra="track")
    from torch.utils.tensorboard.writer import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"), flush_secs=10)

    def log_figures(step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            writer.add_scalar(name, value, step)
        if any(name.startswith("valid/") for name in figures):
            writer.flush()

    return log_figures


tensorboard.needs = ("tensorboard", "track")  # type: ignore[attr-defined]
THIS = tensorboard
