"""Write probabilities as DICOM parametric maps, one file for each label."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from ....errors import require_package
from ...file_errors import as_format_error
from ...source import Source
from ...types import Image
from .equipment import Algorithm, code_to_item, contributing_equipment, equipment_attributes, make_uid, to_pydicom_code
from .seg import check_probabilities, save_dataset, use_study_date_and_key_uids
from .snomed import ANATOMY, TISSUE, Code, find_region_code, printable_text
from .source_slices import Slice, load_slices, plane_attributes, unique_headers

PROBABILITY = Code("122157", "Probability", "DCM")
NO_UNITS = Code("1", "no units", "UCUM")
MAX_LABEL = 16


def write_parametric_maps(
    path: Path, probabilities: Image, source: Source, *, made_by: Algorithm | None = None
) -> list[Path]:
    """Write a parametric map for each label beside a path, ``NAME.1.dcm`` for the first, and give their paths."""
    made = make_parametric_maps(probabilities, source, made_by=made_by)
    return [save_dataset(one, path.with_name(f"{path.stem}.{n}{path.suffix}")) for n, one in enumerate(made, 1)]


def make_parametric_maps(
    probabilities: Image, source: Source, *, made_by: Algorithm | None = None, key: str = ""
) -> list[Dataset]:
    """Make the parametric maps of probabilities (x, y, z, labels), one for each label in one series.

    The tag ``labels`` names them. With a ``key`` the UIDs are made from it.
    """
    names = check_probabilities(probabilities)
    slices = load_slices(probabilities.grid, source)
    series = make_uid(key, "series")
    made = []
    for number, name in enumerate(names, 1):
        plane = probabilities.channels_first[number - 1].astype(np.float32)
        array = np.stack([s.sample(plane) for s in slices])  # (slices, rows, columns)
        with as_format_error(source.path, "DICOM"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd words in the source's header, which are not ours to mend
            made.append(make_one_map(array, slices, name, number, made_by or Algorithm(), (series, key)))
    return [use_study_date_and_key_uids(one, f"{key}/{number}") if key else one for number, one in enumerate(made, 1)]


def make_one_map(
    array: Any,
    slices: Sequence[Slice],
    label_name: str,
    number: int,
    made_by: Algorithm,
    series_and_key: tuple[str, str],
) -> Dataset:
    """Make the parametric map of one label."""
    highdicom = require_package("highdicom", extra="dicom")
    series, key = series_and_key
    heads = unique_headers(slices)
    meaning = highdicom.pm.RealWorldValueMapping(
        lut_label=printable_text(label_name)[:MAX_LABEL] or str(number),
        lut_explanation=f"Probability of {printable_text(label_name)}"[:64],
        unit=to_pydicom_code(NO_UNITS),
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=to_pydicom_code(PROBABILITY),
    )
    made = highdicom.pm.ParametricMap(
        heads[:1] if slices[0].is_multiframe or len(heads) < len(slices) else heads,
        array,
        series_instance_uid=series,
        series_number=902,
        sop_instance_uid=make_uid(key, "instance", number),
        instance_number=number,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[meaning],
        window_center=0.5,
        window_width=1.0,
        content_label="PROBABILITY",
        content_description=f"Probability of {printable_text(label_name)}"[:64],
        contributing_equipment=contributing_equipment(highdicom, made_by),
        **equipment_attributes(made_by),
        **plane_attributes(highdicom, [s.frame for s in slices]),
    )
    made.ContentCreatorName = ""
    made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy_item(label_name)]
    sort_frames_upwards(made, slices)
    made.SeriesDescription = f"Probabilities by {made_by.short_name}"[:64]
    return made


def anatomy_item(name: str) -> Dataset:
    """Make the anatomy item of a label with its laterality; tissue where the name gives no organ."""
    meant, item = find_region_code(name), Dataset()
    item.FrameLaterality = {"Left": "L", "Right": "R"}.get(meant.laterality.meaning if meant.laterality else "", "U")
    item.AnatomicRegionSequence = [
        code_to_item(meant.anatomic_site or (meant.property_type if meant.category == ANATOMY else TISSUE))
    ]
    return item


def sort_frames_upwards(dataset: Dataset, slices: Sequence[Slice]) -> None:
    """Sort the frames by slice position, bottom first: some readers assume it."""
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    heights = [
        float(np.array(g.PlanePositionSequence[0].ImagePositionPatient, float) @ slices[0].frame.normal) for g in groups
    ]
    order = np.argsort(heights, kind="stable")
    frames = np.frombuffer(dataset.FloatPixelData, np.float32).reshape(len(groups), -1)
    dataset.FloatPixelData = frames[order].tobytes()
    dataset.PerFrameFunctionalGroupsSequence = [groups[i] for i in order]
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence, 1):
        group.FrameContentSequence[0].DimensionIndexValues = number
