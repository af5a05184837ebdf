"""Select the fastest installed backend that reproduces the artefact's example."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import registry
from ...answers import Agreement, agreement
from ...data import Grid
from ...errors import MedgradError, PackageNotInstalled, SettingError
from .artefact import Artefact
from .predictor import Forward

BACKENDS_PACKAGE = "inference.artefact.backends"

MAX_WINDOW_DISAGREEMENT = 0.05
"""An engine that agrees on patients is off by more than this on made-up windows only if something is wrong."""


@dataclass(frozen=True)
class BackendTrial:
    """A backend in one precision: the seconds for one window, and its agreement with the example."""

    backend: str
    precision: str
    seconds: float
    agreement: Agreement

    @property
    def name(self) -> str:
        """The backend and its precision."""
        return f"{self.backend}, {self.precision}"


def select_backend(
    artefact: Artefact, *, backend_name: str = "", n_threads: int = 0
) -> tuple[Forward, BackendTrial, list[BackendTrial]]:
    """Load the artefact's network with the fastest backend that agrees; also return the trials of all backends."""
    candidates = list_usable_backends(artefact, backend_name)
    best: tuple[Forward, BackendTrial] | None = None
    tried: list[BackendTrial] = []
    for name in candidates:
        for way in registry.find(BACKENDS_PACKAGE, name).precisions():
            forward, found = try_backend(artefact, name, way, n_threads=n_threads)
            tried.append(found)
            if is_accurate_enough(artefact, found) and (best is None or found.seconds < best[1].seconds):
                best = (forward, found)
    if best is None:
        descriptions = "; ".join(f"{t.name}: {t.agreement.words}" for t in tried)
        raise MedgradError(
            f"No engine says of the example in {str(artefact.folder)!r} what was said when it was "
            f"exported ({descriptions}). "
            "Export the run again on this machine."
        )
    return (*best, tried)


def is_accurate_enough(artefact: Artefact, trial_result: BackendTrial) -> bool:
    """Tell whether a backend agrees well enough to be used.

    Where it was compared on patients at export, that result counts; the synthetic windows, whose labels depend
    on the last digit more often, then only have to show that the backend works here.
    """
    limit, known = float(artefact.manifest["tolerance"]), artefact.manifest.get("ways", {}).get(trial_result.name)
    if isinstance(known, Mapping) and isinstance(known.get("off"), (int, float)):
        return bool(known["off"] <= limit and trial_result.agreement.off <= max(MAX_WINDOW_DISAGREEMENT, limit))
    return trial_result.agreement.off <= limit


def list_usable_backends(artefact: Artefact, backend_name: str = "") -> list[str]:
    """List the installed backends that can load the artefact's network, or raise if there is none."""
    known = registry.names(BACKENDS_PACKAGE)
    if backend_name and backend_name not in known:
        raise SettingError(f"--engine is one of {', '.join(known)}, not {backend_name!r}.")
    fitting = [n for n in known if artefact.network_file.suffix in registry.find(BACKENDS_PACKAGE, n).suffixes]
    if backend_name and backend_name not in fitting:
        raise SettingError(
            f"{backend_name} does not read {artefact.network_file.name!r}. This artefact is for {' or '.join(fitting)}."
        )
    wanted = [backend_name] if backend_name else fitting
    found = [n for n in wanted if registry.find(BACKENDS_PACKAGE, n).is_installed()]
    if not found:
        extras = " or ".join(f"pip install 'medgrad[{registry.find(BACKENDS_PACKAGE, n).extra}]'" for n in wanted)
        raise PackageNotInstalled(
            f"{' or '.join(wanted)} is needed for this artefact and is not installed. Type: {extras}"
        )
    return found


def try_backend(
    artefact: Artefact, backend_name: str, precision: str, *, n_threads: int = 0
) -> tuple[Forward, BackendTrial]:
    """Load a network with one backend, run it on the example, and time it."""
    forward = registry.find(BACKENDS_PACKAGE, backend_name).open(
        artefact.network_file, n_threads=n_threads, precision=precision
    )
    inputs, known = artefact.example
    pairs, seconds = [], 0.0
    for shown, wanted in zip(inputs, known, strict=True):
        began = time.perf_counter()
        said = forward(shown)
        seconds = time.perf_counter() - began
        pairs.append((decode_example(artefact, wanted), decode_outputs(artefact, said)))
    return forward, BackendTrial(backend_name, precision, seconds, agreement(pairs))


def decode_outputs(artefact: Artefact, outputs: Sequence[NDArray[Any]]) -> Any:
    """Decode the outputs for one window into an answer, on a grid of its own."""
    shape = outputs[0].shape[2:] if artefact.output == "dense" else artefact.patch
    return artefact.answer.decode([o[0] for o in outputs], Grid.from_shape(shape), artefact.task_settings)


def decode_example(artefact: Artefact, example_outputs: Mapping[str, NDArray[Any]]) -> Any:
    """Decode the stored outputs of an example; for logits, labels are stored."""
    return artefact.answer.read_stored(example_outputs, Grid.from_shape(artefact.patch), artefact.task_settings)


def make_example_arrays(
    artefact: Artefact, inputs: Sequence[NDArray[np.float32]], forward: Forward
) -> dict[str, NDArray[Any]]:
    """Return the arrays of the example file: inputs, and what the network gives for them."""
    kept: dict[str, NDArray[Any]] = {"count": np.array(len(inputs))}
    for number, shown in enumerate(inputs):
        kept[f"inputs-{number}"] = shown.astype(np.float16)
        held = artefact.answer.stored(forward(shown), artefact.task_settings)
        kept |= {f"{name}-{number}": array for name, array in held.items()}
    return kept
