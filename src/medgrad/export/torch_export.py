"""torch.export: a program for AOTInductor, ExecuTorch and torch itself, without medgrad."""

from __future__ import annotations

from pathlib import Path

import torch

from ..errors import SettingError
from ._target import ExportModule, ignore_warnings


class TorchExportTarget:
    """Export target for a ``.pt2`` file: the graph and its weights."""

    network_file = "network.pt2"
    backend = "torch_export"

    def write(self, finished: ExportModule, folder: Path) -> None:
        """Write the network."""
        moves = dict.fromkeys(finished.dynamic_axes, torch.export.Dim.AUTO)
        try:
            with ignore_warnings(), torch.no_grad():
                program = torch.export.export(finished.module, (finished.inputs,), dynamic_shapes=(moves,))
                torch.export.save(program, folder / self.network_file)
        except (RuntimeError, ValueError, AssertionError, NotImplementedError) as reason:
            line = str(reason).strip().splitlines()[0][:200]
            raise SettingError(f"torch cannot export this network ({line}). Try --to onnx.") from reason


THIS = TorchExportTarget()
