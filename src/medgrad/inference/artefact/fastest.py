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
from ...errors import MedgradError, Missing, SettingError
from .artefact import Artefact
from .predictor import Forward

ROOM = "inference.artefact.backends"

BROKEN = 0.05
"""An engine that agrees on patients is off by more than this on made-up windows only if something is wrong."""


@dataclass(frozen=True)
class BackendTrial:
    """A backend in one precision: the seconds for one window, and its agreement with the example."""

    engine: str
    way: str
    seconds: float
    agreement: Agreement

    @property
    def name(self) -> str:
        """The backend and its precision."""
        return f"{self.engine}, {self.way}"


def select_backend(
    artefact: Artefact, *, engine: str = "", threads: int = 0
) -> tuple[Forward, BackendTrial, list[BackendTrial]]:
    """Load the artefact's network with the fastest backend that agrees; also return the trials of all backends."""
    candidates = usable(artefact, engine)
    best: tuple[Forward, BackendTrial] | None = None
    tried: list[BackendTrial] = []
    for name in candidates:
        for way in registry.find(ROOM, name).ways():
            ask, found = trial(artefact, name, way, threads=threads)
            tried.append(found)
            if agrees(artefact, found) and (best is None or found.seconds < best[1].seconds):
                best = (ask, found)
    if best is None:
        told = "; ".join(f"{t.name}: {t.agreement.words}" for t in tried)
        raise MedgradError(
            f"No engine says of the example in {str(artefact.folder)!r} what was said when it was exported ({told}). "
            "Export the run again on this machine."
        )
    return (*best, tried)


def agrees(artefact: Artefact, found: BackendTrial) -> bool:
    """Tell whether a backend agrees well enough to be used.

    Where it was compared on patients at export, that result counts; the synthetic windows, whose labels depend
    on the last digit more often, then only have to show that the backend works here.
    """
    limit, known = float(artefact.about["tolerance"]), artefact.about.get("ways", {}).get(found.name)
    if isinstance(known, Mapping) and isinstance(known.get("off"), (int, float)):
        return bool(known["off"] <= limit and found.agreement.off <= max(BROKEN, limit))
    return found.agreement.off <= limit


def usable(artefact: Artefact, engine: str = "") -> list[str]:
    """List the installed backends that can load the artefact's network, or raise if there is none."""
    known = registry.names(ROOM)
    if engine and engine not in known:
        raise SettingError(f"--engine is one of {', '.join(known)}, not {engine!r}.")
    fitting = [n for n in known if artefact.network.suffix in registry.find(ROOM, n).reads]
    if engine and engine not in fitting:
        raise SettingError(
            f"{engine} does not read {artefact.network.name!r}. This artefact is for {' or '.join(fitting)}."
        )
    wanted = [engine] if engine else fitting
    found = [n for n in wanted if registry.find(ROOM, n).is_installed()]
    if not found:
        extras = " or ".join(f"pip install 'medgrad[{registry.find(ROOM, n).extra}]'" for n in wanted)
        raise Missing(f"{' or '.join(wanted)} is needed for this artefact and is not installed. Type: {extras}")
    return found


def trial(artefact: Artefact, name: str, way: str, *, threads: int = 0) -> tuple[Forward, BackendTrial]:
    """Load a network with one backend, run it on the example, and time it."""
    ask = registry.find(ROOM, name).open(artefact.network, threads=threads, way=way)
    inputs, known = artefact.example
    pairs, seconds = [], 0.0
    for shown, wanted in zip(inputs, known, strict=True):
        began = time.perf_counter()
        said = ask(shown)
        seconds = time.perf_counter() - began
        pairs.append((read_example(artefact, wanted), read(artefact, said)))
    return ask, BackendTrial(name, way, seconds, agreement(pairs))


def read(artefact: Artefact, outputs: Sequence[NDArray[Any]]) -> Any:
    """Decode the outputs for one window into an answer, on a grid of its own."""
    shape = outputs[0].shape[2:] if artefact.output == "dense" else artefact.patch
    return artefact.answer.decode([o[0] for o in outputs], Grid.of(shape), artefact.task)


def read_example(artefact: Artefact, stored: Mapping[str, NDArray[Any]]) -> Any:
    """Decode the stored outputs of an example; for logits, labels are stored."""
    return artefact.answer.read_stored(stored, Grid.of(artefact.patch), artefact.task)


def stored(artefact: Artefact, inputs: Sequence[NDArray[np.float32]], ask: Forward) -> dict[str, NDArray[Any]]:
    """Return the arrays of the example file: inputs, and what the network gives for them."""
    kept: dict[str, NDArray[Any]] = {"count": np.array(len(inputs))}
    for number, shown in enumerate(inputs):
        kept[f"inputs-{number}"] = shown.astype(np.float16)
        held = artefact.answer.stored(ask(shown), artefact.task)
        kept |= {f"{name}-{number}": array for name, array in held.items()}
    return kept
