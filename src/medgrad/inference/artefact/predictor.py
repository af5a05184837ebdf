"""An exported network as a predictor: how a window is shown to a backend, without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...answers import kind_named
from ...data import Case, Grid
from ...errors import SettingError
from ..encode import stack_channels
from ..predictor import Network, Predictor
from .artefact import Artefact

Forward = Callable[[NDArray[np.float32]], Sequence[NDArray[Any]]]
"""A backend with a network: inputs (b, channels, *shape) to its outputs."""


def predictor_of(artefact: Artefact, forward: Forward, *, file_format: str = "") -> Predictor:
    """Make the predictor of an artefact; with their maps where a format asks for probabilities."""
    about, kind, settings = artefact.manifest, artefact.answer, artefact.task_settings
    maps = kind_named("probability_maps")
    wants_maps = file_format in maps.formats
    if wants_maps and kind.name != "label_map":
        raise SettingError(
            f"An artefact of the task {artefact.task_name!r} gives no probabilities. Leave --format out."
        )
    read = maps if wants_maps else kind

    def decode(output: Any, grid: Grid) -> Any:
        return read.decode(output if isinstance(output, tuple) else [output], grid, settings)

    def merge_windows(answers: Sequence[Any], windows: Sequence[Grid], grid: Grid) -> Any:
        return kind.join(answers, windows, grid, settings)

    return Predictor(
        networks=[network_of(forward, several=len(kind.outputs) > 1)],
        encode=lambda case: {"image": encoded(artefact, case)},
        decode=decode,
        output=artefact.output,
        kind=read.name,
        patch=artefact.patch,
        steps=artefact.prepare_steps,
        images=artefact.channels,
        channels=about["channels"],
        classes=about["classes"],
        merge_windows=merge_windows,
        finish=lambda value, case: read.finish(value, case, settings),
        overlap=about["overlap"],
        flips=tuple(about["tta_flips"]),
        coarse_to_fine=bool(about.get("coarse_to_fine")) and read.has_background,
        first_pass_stride=about.get("first_pass_stride", 1),
    )


def network_of(forward: Forward, *, several: bool) -> Network:
    """Show a batch to a backend, and give its output, or all of them where there are several."""
    return (lambda inputs: tuple(forward(inputs["image"]))) if several else (lambda inputs: forward(inputs["image"])[0])


def encoded(artefact: Artefact, case: Case) -> NDArray[np.float32]:
    """Give the inputs (channels, *shape) of a case, or raise if it has not as many channels as the network takes."""
    inputs, wanted = stack_channels(case, artefact.channels), artefact.manifest["channels"]
    if len(inputs) != wanted:
        raise ValueError(
            f"Case {case.id!r} has {len(inputs)} channels, but the network takes {wanted}. "
            "Give images of the kind that it learned from."
        )
    return inputs


def answer(artefact: Artefact, forward: Forward, case: Case) -> Any:
    """Answer about one case, on its own grid."""
    return predictor_of(artefact, forward).answer(case)
