"""The folders of nnU-Net and of the Medical Segmentation Decathlon: imagesTr, labelsTr, dataset.json."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....errors import LayoutError
from ...source import Source
from ...tables import json_of
from ..cohort import Cohort, Entry
from ._assemble import finished, with_labels
from ._files import images_in, modality_of, natural, some, stem_of
from ._labels import Meaning
from ._layout import Hints, NoMatch

CHANNEL = re.compile(r"^(.+)_(\d{4})$")


def nnunet(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise ``imagesTr`` and ``labelsTr``; ``dataset.json`` names the labels and the channels."""
    if not (folder / "imagesTr").is_dir():
        return NoMatch(0.0, "it has no folder imagesTr.")
    if not (folder / "labelsTr").is_dir():
        return NoMatch(0.8, "it has imagesTr, but no labelsTr. Put the masks there.")
    if hints.task not in (None, "segmentation"):
        return NoMatch(0.3, f"labelsTr does not serve {hints.task}.")
    about = json_of(folder / "dataset.json") if (folder / "dataset.json").is_file() else {}
    if not isinstance(about, dict):
        raise LayoutError(f"{str(folder / 'dataset.json')!r} is not an object. Write {{'labels': {{...}}, ...}}.")
    told: list[str] = [] if about else ["There is no dataset.json; the labels are those in the files."]
    channels = channel_names(about)
    train = entries_in(folder, "Tr", channels, told, split=None)
    test = entries_in(folder, "Ts", channels, told, split="test") if (folder / "imagesTs").is_dir() else []
    if not any(e.truth for e in train):
        return NoMatch(0.7, "no file in imagesTr goes with one in labelsTr. Name them a_0000.nii.gz and a.nii.gz.")
    names = {n for e in train for n in e.images}
    modalities = {n: m for n in names if (m := modality_of(n))}
    if names == {"image"} and len(channels) == 1 and (only := modality_of(next(iter(channels.values())))):
        modalities = {"image": only}
    cohort = Cohort(folder, "nnunet", "segmentation", (*train, *test), told=tuple(told), modalities=modalities)
    known = labels_of(about, folder / "dataset.json") if "labels" in about else None
    return finished(with_labels(cohort, "foreground", known), folder)


def channel_names(about: Mapping[str, Any]) -> dict[int, str]:
    """Read the channel names from either form of dataset.json."""
    named = about.get("channel_names", about.get("modality", {}))
    if isinstance(named, list):
        named = dict(enumerate(named))
    if not isinstance(named, dict):
        return {}
    return {int(k): str(v) for k, v in named.items() if str(k).isdecimal()}


def entries_in(
    folder: Path, end: str, channels: Mapping[int, str], told: list[str], *, split: str | None
) -> list[Entry]:
    """List the cases in ``images<end>`` and ``labels<end>``."""
    images = images_in(folder / f"images{end}")
    truths = {stem_of(p): p for p in images_in(folder / f"labels{end}")} if (folder / f"labels{end}").is_dir() else {}
    cases: dict[str, dict[str, Source]] = {}
    numbered = [CHANNEL.match(stem_of(p)) for p in images]
    is_numbered = bool(images) and all(numbered) and not any(stem_of(p) in truths for p in images)
    single = not is_numbered or len({m.group(2) for m in numbered if m}) == 1
    for path, number in zip(images, numbered, strict=True):
        if is_numbered and number:
            channel = int(number.group(2))
            name = "image" if single else channels.get(channel, f"channel_{channel}")
            cases.setdefault(number.group(1), {})[name] = Source(path)
        else:
            cases.setdefault(stem_of(path), {})["image"] = Source(path)
    every = max((len(c) for c in cases.values()), default=0)
    short = [i for i, c in cases.items() if len(c) < every]
    if short:
        told.append(f"{len(short)} case(s) in images{end} lack a channel and are left out: {some(short)}.")
    bare = [i for i in cases if i not in truths]
    if bare:
        told.append(f"{len(bare)} case(s) in images{end} have no labels and stand on no side: {some(bare)}.")
    loose = [t for t in truths if t not in cases]
    if loose:
        told.append(f"{len(loose)} label file(s) in labels{end} have no image: {some(loose)}.")
    return [
        Entry(i, dict(sorted(c.items())) if single else c, Source(truths[i]) if i in truths else None,
              split=split if i in truths else None)
        for i, c in sorted(cases.items(), key=lambda item: natural(item[0]))
        if i not in short
    ]  # fmt: skip


def labels_of(about: Mapping[str, Any], where: Path) -> Meaning:
    """Read the labels, as name to value (nnU-Net) or value to name (MSD).

    Regions of nnU-Net are split into their labels.
    """
    written = about["labels"]
    if not isinstance(written, dict):
        raise LayoutError(f"{str(where)!r}: 'labels' is not an object. Write {{'background': 0, 'liver': 1}}.")
    by_value: dict[int, str] = {}
    told: list[str] = []
    for key, value in written.items():
        if isinstance(value, list):
            told.append(f"The region {key!r} of dataset.json is taken apart into its labels {value}.")
            for one in value:
                by_value.setdefault(_number(one, where), str(one))
        elif str(key).isdecimal() and not isinstance(value, int):
            by_value[int(key)] = str(value)
        else:
            by_value[_number(value, where)] = str(key)
    if "ignore" in by_value.values():
        raise LayoutError(
            f"{str(where)!r} has an 'ignore' label, which is not learned around here. "
            "Give the region that counts as masks of its own, or take the label out."
        )
    values = sorted(v for v in by_value if v != 0)
    if not values:
        raise LayoutError(f"{str(where)!r} names no label but the background. Name the labels in 'labels'.")
    return Meaning(tuple(by_value[v] for v in values), tuple(values), 0, tuple(told))


def _number(value: object, where: Path) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if not 0 <= number <= 65_535:
        raise LayoutError(f"{str(where)!r}: {value!r} is no label. Labels are whole numbers from 0.")
    return number


nnunet.order = 20  # type: ignore[attr-defined]
THIS = nnunet
