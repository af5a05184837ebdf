"""The quickest engine that is installed and says what the artefact's own example says."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import registry
from ...data import Boxes, Grid, LabelMap, Scores
from ...errors import MedgradError, Missing, SettingError
from .. import decode
from .agreement import Agreement, agreement
from .artefact import OUTPUTS, Artefact
from .infer import Ask

ROOM = "inference.artefact.backends"

BROKEN = 0.05
"""An engine that agrees on patients is off by more than this on made-up windows only if something is wrong."""


@dataclass(frozen=True)
class BackendTrial:
    """An engine in one precision: the seconds for one window, and how far its answers are from the example's."""

    engine: str
    way: str
    seconds: float
    agreement: Agreement

    @property
    def name(self) -> str:
        """The engine and its precision."""
        return f"{self.engine}, {self.way}"


def select_backend(
    artefact: Artefact, *, engine: str = "", threads: int = 0
) -> tuple[Ask, BackendTrial, list[BackendTrial]]:
    """Open the artefact's network with the quickest engine that agrees; also give what was found of each."""
    candidates = usable(artefact, engine)
    best: tuple[Ask, BackendTrial] | None = None
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
    """Tell whether an engine may answer: it agrees on what it was tried on.

    Where it was tried on patients when the artefact was made, that counts, and made-up windows, on which labels hang on
    the last digit more often, only have to show that it is not broken here.
    """
    limit, known = float(artefact.about["tolerance"]), artefact.about.get("ways", {}).get(found.name)
    if isinstance(known, Mapping) and isinstance(known.get("off"), (int, float)):
        return bool(known["off"] <= limit and found.agreement.off <= max(BROKEN, limit))
    return found.agreement.off <= limit


def usable(artefact: Artefact, engine: str = "") -> list[str]:
    """List the engines that are installed and can read the artefact's network, or raise if there is none."""
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


def trial(artefact: Artefact, name: str, way: str, *, threads: int = 0) -> tuple[Ask, BackendTrial]:
    """Open a network with one engine, show it the example, and time the last of it."""
    ask = registry.find(ROOM, name).open(artefact.network, threads=threads, way=way)
    inputs, known = artefact.example
    pairs, seconds = [], 0.0
    for shown, wanted in zip(inputs, known, strict=True):
        began = time.perf_counter()
        said = ask(shown)
        seconds = time.perf_counter() - began
        pairs.append((read_example(artefact, wanted), read(artefact, said)))
    return ask, BackendTrial(name, way, seconds, agreement(pairs))


def read(artefact: Artefact, outputs: Sequence[NDArray[Any]]) -> LabelMap | Scores | Boxes:
    """Read the outputs about one window as an answer, on a grid of its own."""
    if artefact.reading == "logits":
        return decode.labels(outputs[0][0], Grid.of(outputs[0].shape[2:]), artefact.task)
    if artefact.reading == "chances":
        return decode.scores(outputs[0][0], artefact.task)
    return decode.boxes(outputs[0][0], outputs[1][0], Grid.of(artefact.patch), artefact.task)


def read_example(artefact: Artefact, stored: Sequence[NDArray[Any]]) -> LabelMap | Scores | Boxes:
    """Read what was stored with an example; of logits, only the labels are."""
    if artefact.reading != "logits":
        return read(artefact, stored)
    return LabelMap(stored[0], Grid.of(stored[0].shape))


def stored(artefact: Artefact, inputs: Sequence[NDArray[np.float32]], ask: Ask) -> dict[str, NDArray[Any]]:
    """Give what is kept of examples and of what a network says about them, by the names in the file."""
    kept: dict[str, NDArray[Any]] = {"count": np.array(len(inputs))}
    for number, shown in enumerate(inputs):
        said = ask(shown)
        kept[f"inputs-{number}"] = shown.astype(np.float16)
        if artefact.reading == "logits":
            kept[f"labels-{number}"] = decode.labels(said[0][0], Grid.of(said[0].shape[2:]), artefact.task).array
        else:
            kept |= {f"{name}-{number}": s for name, s in zip(OUTPUTS[artefact.reading], said, strict=True)}
    return kept
