"""The file that holds the plain z-score of a run's training images."""

from __future__ import annotations

import io
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np

from ...data.atomic_files import write_bytes
from ...errors import FormatError
from ...trust.voxel_zscore import VoxelZScore


def write_zscore(path: Path, zscore: VoxelZScore) -> None:
    """Write it, in float32."""
    out = io.BytesIO()
    known = {name: np.float32(value) for name, value in vars(zscore).items() if value is not None}
    np.savez_compressed(out, allow_pickle=False, **known)
    write_bytes(path, out.getvalue())


def read_zscore(path: Path) -> VoxelZScore:
    """Read it, or raise if the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            known = {f.name: stored[f.name].astype(np.float64) for f in fields(VoxelZScore) if f.name in stored}
        return VoxelZScore(**known)
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as reason:
        raise FormatError(f"{str(path)!r} is damaged. Train the run again, or take the file away.") from reason
