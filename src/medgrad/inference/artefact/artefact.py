"""An artefact: the folder of an exported network with all settings for inference.

``artefact.json`` holds the preparation, the shape of the inputs, the kind of output, and the measured
agreement with the run. The kind of output is one of three:

``logits``   one number a class for every element, (1, classes, *patch); the largest is the label
``chances``  one probability a class, (b, classes); calibrated
``boxes``    two outputs: corners in elements (1, n, 2 * dims), and a probability a class (1, n, classes)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ... import registry
from ...answers import AnswerKind, kind_named
from ...data.checksum import hash_file
from ...errors import FormatError
from ...prepare import Step, build_steps
from ..coarse_to_fine import MAX_FIRST_PASS_STRIDE
from ..input_check import InputSpec

FILE, EXAMPLE, VERSION = "artefact.json", "example.npz", 2

Output = Literal["dense", "pooled", "pyramid"]
REQUIRED_KEYS = {
    "artefact": int,
    "medgrad": str,
    "target": str,
    "precision": str,
    "network": str,
    "output": str,
    "answer": str,
    "classes": int,
    "task": dict,
    "prepare": list,
    "patch": list,
    "overlap": (int, float),
    "tta_flips": list,
    "channels": int,
    "files": dict,
    "agreement": dict,
    "tolerance": (int, float),
}


@dataclass(frozen=True)
class Artefact:
    """An opened artefact: its folder, and the content of its ``artefact.json``."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def network_file(self) -> Path:
        """The network's file."""
        return self.folder / str(self.manifest["network"])

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """The files of the network, without its example."""
        return tuple(self.folder / name for name in sorted(self.manifest["files"]) if name != EXAMPLE)

    @property
    def output(self) -> Output:
        """How the network answers."""
        output: Output = self.manifest["output"]
        return output

    @property
    def answer(self) -> AnswerKind:
        """The kind of its answers."""
        return kind_named(self.manifest["answer"])

    @property
    def task_settings(self) -> Mapping[str, Any]:
        """All settings of the task."""
        return registry.lists_to_tuples(self.manifest["task"])

    @property
    def task_name(self) -> str:
        """The name of the task."""
        return str(self.manifest["task"]["kind"])

    @property
    def channels(self) -> tuple[str, ...]:
        """The images of a case in the order in which they are stacked; empty: as they come."""
        return tuple(self.manifest["task"]["channels"])

    @property
    def dims(self) -> int:
        """How many axes an image has."""
        return int(self.manifest["task"]["dims"])

    @property
    def input_spec(self) -> InputSpec:
        """The input specification: the kind of images in the training data, where it was recorded."""
        is_brought = any(step.get("name") == "channels" for step in self.manifest["prepare"])
        return InputSpec(self.dims, self.channels, self.manifest.get("inputs", {}), is_brought)

    @property
    def patch(self) -> tuple[int, ...]:
        """The shape of a window."""
        return tuple(self.manifest["patch"])

    @cached_property
    def prepare_steps(self) -> list[Step]:
        """The preparation steps."""
        return build_steps(registry.lists_to_tuples(self.manifest["prepare"]))

    @cached_property
    def example(self) -> tuple[list[NDArray[np.float32]], list[dict[str, NDArray[Any]]]]:
        """Example inputs (1, planes, *patch), and the network's output for each at export."""
        with np.load(self.folder / EXAMPLE, allow_pickle=False) as stored:
            count = int(stored["count"])
            inputs = [stored[f"inputs-{i}"].astype(np.float32) for i in range(count)]
            said: list[dict[str, NDArray[Any]]] = [{} for _ in range(count)]
            for name in stored.files:
                what, _, number = name.rpartition("-")
                if what not in ("", "inputs"):
                    said[int(number)][what] = stored[name]
            return inputs, said


def is_artefact(folder: Path | str) -> bool:
    """Tell whether a folder is an artefact."""
    return (Path(folder) / FILE).is_file()


def open_artefact(folder: Path | str) -> Artefact:
    """Open an artefact, or raise if a file in it is missing or was changed."""
    folder = Path(folder)
    try:
        manifest = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as reason:
        raise FormatError(f"{str(folder / FILE)!r} cannot be read. Export the run again.") from reason
    check_manifest(manifest, folder)
    for name, known in manifest["files"].items():
        path = folder / name
        if not path.is_file() or hash_file(path) != known:
            raise FormatError(
                f"{str(path)!r} is missing, or is not the file that was exported. Export the run again, or copy the "
                "whole folder."
            )
    return Artefact(folder, manifest)


def check_manifest(manifest: Any, folder: Path) -> None:
    """Raise unless the content of ``artefact.json`` is complete and of the right types."""
    where = repr(str(folder / FILE))
    if not isinstance(manifest, dict) or not isinstance(manifest.get("artefact"), int):
        raise FormatError(f"{where} does not describe an artefact.")
    if manifest["artefact"] > VERSION:
        raise FormatError(f"{where} was written by medgrad {manifest.get('medgrad')}, which is newer. Update medgrad.")
    for key, kind in REQUIRED_KEYS.items():
        if not isinstance(manifest.get(key), kind):  # type: ignore[arg-type]
            raise FormatError(f"{where} has no {key!r}, or it is not what it should be. Export the run again.")
    task = manifest["task"]
    is_known = manifest["answer"] in registry.names("answers") and manifest["output"] in get_args(Output)
    has_settings = is_known and all(key in task for key in kind_named(manifest["answer"]).settings)
    is_sound = has_settings and isinstance(task.get("kind"), str) and isinstance(task.get("labels", []), list)
    if not is_sound or task.get("dims") not in (1, 2, 3):
        raise FormatError(f"{where} describes a task that is not known here. Update medgrad.")
    if (
        type(manifest.get("first_pass_stride", 1)) is not int
        or not 1 <= manifest.get("first_pass_stride", 1) <= MAX_FIRST_PASS_STRIDE
    ):
        raise FormatError(f"{where} asks for a first pass over so many elements as cannot be. Export the run again.")
    names = [*manifest["files"], manifest["network"]]
    if any(PurePosixPath(n).is_absolute() or ".." in PurePosixPath(n).parts for n in names):
        raise FormatError(f"{where} names files outside its own folder. Do not trust it.")
    if manifest["network"] not in manifest["files"] or EXAMPLE not in manifest["files"]:
        raise FormatError(f"{where} does not vouch for its own network and its example. Export the run again.")
