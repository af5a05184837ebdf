"""From a case to its answer by an artefact: prepared, shown to an engine, decoded, and brought back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data import Case
from ...prepare import prepare, restore
from .. import decode
from ..coarse_to_fine import sliding_window_coarse_to_fine
from ..encode import stacked
from ..sliding_window import blocks_within, each_window, sliding_window, without_truth
from .artefact import Artefact

Ask = Callable[[NDArray[np.float32]], Sequence[NDArray[Any]]]
"""An engine with a network: inputs (b, planes, *shape) to its outputs."""


def answer(artefact: Artefact, ask: Ask, case: Case, *, chances: bool = False) -> Any:
    """Answer about one case, on its own grid; of labels, with how likely each is if ``probabilities`` are asked for."""
    prepared, grids = prepare(without_truth(case), artefact.steps)
    return restore(answer_prepared(artefact, ask, prepared, chances=chances), artefact.steps, grids)


def answer_prepared(artefact: Artefact, ask: Ask, case: Case, *, chances: bool = False, sums: int = 0) -> Any:
    """Answer about a case that is prepared already, on the prepared grid; ``sums`` may take so many bytes (0: any)."""
    task, about = artefact.task, artefact.about

    def shown(box: Case) -> NDArray[np.float32]:
        inputs = stacked(box, artefact.channels)[None]
        if inputs.shape[1] != about["planes"]:
            raise ValueError(
                f"Case {case.id!r} has {inputs.shape[1]} channels, but the network takes {about['planes']}. "
                "Give images of the kind that it learned from."
            )
        return inputs

    if artefact.reading == "logits":
        way: Callable[..., Any] = sliding_window
        if about.get("sparing") and not chances:
            way = partial(sliding_window_coarse_to_fine, coarse=about.get("coarse", 1))
        read = decode.probabilities if chances else decode.labels
        return way(
            lambda box: mirrored(ask, shown(box), about["flips"])[0],
            lambda logits, grid: read(logits, grid, task),
            case,
            patch=artefact.patch,
            overlap=about["overlap"],
            blocks=blocks_within(case.grid.shape, artefact.patch, 1 + len(task["labels"]), sums),
        )
    if artefact.reading == "boxes":

        def say(box: Case) -> Any:
            corners, sure = ask(shown(box))
            return decode.boxes(corners[0], sure[0], box.grid, task)

        said, windows = each_window(say, case, patch=artefact.patch, overlap=about["overlap"])
        return decode.gathered(said, windows, case.grid, task)
    return decode.scores(ask(shown(case))[0][0], task)


def mirrored(ask: Ask, inputs: NDArray[np.float32], flips: Sequence[int]) -> NDArray[Any]:
    """Show inputs mirrored in every way along the axes ``flips``, and average what is said, mirrored back."""
    ways = list(product(*[(False, True)] * len(flips)))
    total: Any = None
    for way in ways:
        axes = tuple(a + 2 for a, on in zip(flips, way, strict=True) if on)
        turned = np.ascontiguousarray(np.flip(inputs, axes)) if axes else inputs
        said = ask(turned)[0]
        said = np.flip(said, axes) if axes else said
        total = said if total is None else total + said
    return np.asarray(total / len(ways) if len(ways) > 1 else total)
