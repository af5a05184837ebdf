"""The folders of nnU-Net and of the Medical Segmentation Decathlon: imagesTr, labelsTr, dataset.json."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....errors import LayoutError
from ...source import Source
from ...tables import read_json
from ..cohort import Cohort, Entry
from ._files import file_stem, list_images, natural_sort_key, parse_modality, quote_first
from ._label_scheme import LabelScheme
from ._layout import Hints, NoMatch
from ._segmentation_cohort import add_label_scheme, finish_cohort

CHANNEL_PATTERN = re.compile(r"^(.+)_(\d{4})$")


def nnunet(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise ``imagesTr`` and ``labelsTr``; ``dataset.json`` names the labels and the channels."""
    if not (folder / "imagesTr").is_dir():
        return NoMatch(0.0, "it has no folder imagesTr.")
    if not (folder / "labelsTr").is_dir():
        return NoMatch(0.8, "it has imagesTr, but no labelsTr. Put the masks there.")
    if hints.rules_out("label_map"):
        return NoMatch(0.3, f"labelsTr does not serve {hints.task}.")
    dataset_json = read_json(folder / "dataset.json") if (folder / "dataset.json").is_file() else {}
    if not isinstance(dataset_json, dict):
        raise LayoutError(f"{str(folder / 'dataset.json')!r} is not an object. Write {{'labels': {{...}}, ...}}.")
    messages: list[str] = [] if dataset_json else ["There is no dataset.json; the labels are those in the files."]
    channels = read_channel_names(dataset_json)
    train = list_entries(folder, "Tr", channels, messages, split=None)
    test = list_entries(folder, "Ts", channels, messages, split="test") if (folder / "imagesTs").is_dir() else []
    if not any(e.truth for e in train):
        return NoMatch(0.7, "no file in imagesTr goes with one in labelsTr. Name them a_0000.nii.gz and a.nii.gz.")
    names = {n for e in train for n in e.images}
    modalities = {n: m for n in names if (m := parse_modality(n))}
    if names == {"image"} and len(channels) == 1 and (only := parse_modality(next(iter(channels.values())))):
        modalities = {"image": only}
    cohort = Cohort(folder, "nnunet", "segmentation", (*train, *test), messages=tuple(messages), modalities=modalities)
    scheme = read_label_scheme(dataset_json, folder / "dataset.json") if "labels" in dataset_json else None
    return finish_cohort(add_label_scheme(cohort, "foreground", scheme), folder)


def read_channel_names(dataset_json: Mapping[str, Any]) -> dict[int, str]:
    """Read the channel names from either form of dataset.json."""
    named = dataset_json.get("channel_names", dataset_json.get("modality", {}))
    if isinstance(named, list):
        named = dict(enumerate(named))
    if not isinstance(named, dict):
        return {}
    return {int(k): str(v) for k, v in named.items() if str(k).isdecimal()}


def list_entries(
    folder: Path, suffix: str, channels: Mapping[int, str], messages: list[str], *, split: str | None
) -> list[Entry]:
    """List the cases in ``images<end>`` and ``labels<end>``."""
    images = list_images(folder / f"images{suffix}")
    truths = (
        {file_stem(p): p for p in list_images(folder / f"labels{suffix}")}
        if (folder / f"labels{suffix}").is_dir()
        else {}
    )
    cases: dict[str, dict[str, Source]] = {}
    numbered = [CHANNEL_PATTERN.match(file_stem(p)) for p in images]
    is_numbered = bool(images) and all(numbered) and not any(file_stem(p) in truths for p in images)
    single = not is_numbered or len({m.group(2) for m in numbered if m}) == 1
    for path, number in zip(images, numbered, strict=True):
        if is_numbered and number:
            channel = int(number.group(2))
            name = "image" if single else channels.get(channel, f"channel_{channel}")
            cases.setdefault(number.group(1), {})[name] = Source(path)
        else:
            cases.setdefault(file_stem(path), {})["image"] = Source(path)
    every = max((len(c) for c in cases.values()), default=0)
    incomplete = [i for i, c in cases.items() if len(c) < every]
    if incomplete:
        messages.append(
            f"{len(incomplete)} case(s) in images{suffix} lack a channel and are left out: {quote_first(incomplete)}."
        )
    without_labels = [i for i in cases if i not in truths]
    if without_labels:
        messages.append(
            f"{len(without_labels)} case(s) in images{suffix} have no labels and stand on no side: "
            f"{quote_first(without_labels)}."
        )
    loose = [t for t in truths if t not in cases]
    if loose:
        messages.append(f"{len(loose)} label file(s) in labels{suffix} have no image: {quote_first(loose)}.")
    return [
        Entry(i, dict(sorted(c.items())) if single else c, Source(truths[i]) if i in truths else None,
              split=split if i in truths else None)
        for i, c in sorted(cases.items(), key=lambda item: natural_sort_key(item[0]))
        if i not in incomplete
    ]  # fmt: skip


def read_label_scheme(dataset_json: Mapping[str, Any], path: Path) -> LabelScheme:
    """Read the labels, as name to value (nnU-Net) or value to name (MSD).

    Regions of nnU-Net are split into their labels.
    """
    written = dataset_json["labels"]
    if not isinstance(written, dict):
        raise LayoutError(f"{str(path)!r}: 'labels' is not an object. Write {{'background': 0, 'liver': 1}}.")
    by_value: dict[int, str] = {}
    messages: list[str] = []
    for key, value in written.items():
        if isinstance(value, list):
            messages.append(f"The region {key!r} of dataset.json is taken apart into its labels {value}.")
            for one in value:
                by_value.setdefault(_parse_label_value(one, path), str(one))
        elif str(key).isdecimal() and not isinstance(value, int):
            by_value[int(key)] = str(value)
        else:
            by_value[_parse_label_value(value, path)] = str(key)
    if "ignore" in by_value.values():
        raise LayoutError(
            f"{str(path)!r} has an 'ignore' label, which is not learned around here. "
            "Give the region that counts as masks of its own, or take the label out."
        )
    values = sorted(v for v in by_value if v != 0)
    if not values:
        raise LayoutError(f"{str(path)!r} names no label but the background. Name the labels in 'labels'.")
    return LabelScheme(tuple(by_value[v] for v in values), tuple(values), 0, tuple(messages))


def _parse_label_value(value: object, path: Path) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if not 0 <= number <= 65_535:
        raise LayoutError(f"{str(path)!r}: {value!r} is no label. Labels are whole numbers from 0.")
    return number


nnunet.order = 20  # type: ignore[attr-defined]
THIS = nnunet
