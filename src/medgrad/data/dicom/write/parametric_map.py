"""Write probabilities as DICOM parametric maps, one file for each label."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from ....errors import need
from ...file_errors import damage_told
from ...source import Source
from ...types import Image
from .equipment import Algorithm, code_item, coded, contributions, equipment, uid
from .seg import chance_names, dated, save
from .snomed import ANATOMY, TISSUE, Code, meant_by, plain_text
from .source import Slice, heads_of, planes, slices_of

PROBABILITY = Code("122157", "Probability", "DCM")
NO_UNITS = Code("1", "no units", "UCUM")
LONGEST_LABEL = 16


def write_maps(path: Path, chances: Image, source: Source, *, maker: Algorithm | None = None) -> list[Path]:
    """Write a parametric map for each label beside a path, ``NAME.1.dcm`` for the first, and give their paths."""
    made = encoded_maps(chances, source, maker=maker)
    return [save(one, path.with_name(f"{path.stem}.{n}{path.suffix}")) for n, one in enumerate(made, 1)]


def encoded_maps(chances: Image, source: Source, *, maker: Algorithm | None = None, key: str = "") -> list[Dataset]:
    """Make the parametric maps of probabilities (x, y, z, labels), one for each label in one series.

    The tag ``labels`` names them. With a ``key`` the UIDs are made from it.
    """
    names = chance_names(chances)
    slices = slices_of(chances.grid, source)
    series = uid(key, "series")
    made = []
    for number, name in enumerate(names, 1):
        plane = chances.planes[number - 1].astype(np.float32)
        array = np.stack([s.of(plane) for s in slices])  # (slices, rows, columns)
        with damage_told(source.path, "DICOM"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd words in the source's header, which are not ours to mend
            made.append(parametric(array, slices, name, number, maker or Algorithm(), (series, key)))
    return [dated(one, f"{key}/{number}") if key else one for number, one in enumerate(made, 1)]


def parametric(
    array: Any, slices: Sequence[Slice], name: str, number: int, maker: Algorithm, series_and_key: tuple[str, str]
) -> Dataset:
    """Make the parametric map of one label."""
    highdicom = need("highdicom", extra="dicom")
    series, key = series_and_key
    heads = heads_of(slices)
    meaning = highdicom.pm.RealWorldValueMapping(
        lut_label=plain_text(name)[:LONGEST_LABEL] or str(number),
        lut_explanation=f"Probability of {plain_text(name)}"[:64],
        unit=coded(NO_UNITS),
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=coded(PROBABILITY),
    )
    made = highdicom.pm.ParametricMap(
        heads[:1] if slices[0].is_one_of_several or len(heads) < len(slices) else heads,
        array,
        series_instance_uid=series,
        series_number=902,
        sop_instance_uid=uid(key, "instance", number),
        instance_number=number,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[meaning],
        window_center=0.5,
        window_width=1.0,
        content_label="PROBABILITY",
        content_description=f"Probability of {plain_text(name)}"[:64],
        contributing_equipment=contributions(highdicom, maker),
        **equipment(maker),
        **planes(highdicom, [s.frame for s in slices]),
    )
    made.ContentCreatorName = ""
    made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy(name)]
    upwards(made, slices)
    made.SeriesDescription = f"Probabilities by {maker.title}"[:64]
    return made


def anatomy(name: str) -> Dataset:
    """Make the anatomy item of a label with its laterality; tissue where the name gives no organ."""
    meant, item = meant_by(name), Dataset()
    item.FrameLaterality = {"Left": "L", "Right": "R"}.get(meant.side.meaning if meant.side else "", "U")
    item.AnatomicRegionSequence = [code_item(meant.site or (meant.kind if meant.category == ANATOMY else TISSUE))]
    return item


def upwards(made: Dataset, slices: Sequence[Slice]) -> None:
    """Sort the frames by slice position, bottom first: some readers assume it."""
    groups = list(made.PerFrameFunctionalGroupsSequence)
    heights = [
        float(np.array(g.PlanePositionSequence[0].ImagePositionPatient, float) @ slices[0].frame.normal) for g in groups
    ]
    order = np.argsort(heights, kind="stable")
    frames = np.frombuffer(made.FloatPixelData, np.float32).reshape(len(groups), -1)
    made.FloatPixelData = frames[order].tobytes()
    made.PerFrameFunctionalGroupsSequence = [groups[i] for i in order]
    for number, group in enumerate(made.PerFrameFunctionalGroupsSequence, 1):
        group.FrameContentSequence[0].DimensionIndexValues = number
