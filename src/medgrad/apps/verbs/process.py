"""``medgrad process``: clean, enhance or smooth images by exact steps or by runs that restore images."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ... import registry
from ...engine.progress import Progress
from ...errors import MedgradError, SettingError, suggest_name
from ._checks import check_exists, check_new_folder, check_output_unused

if TYPE_CHECKING:
    from ...data.cohorts import Entry
    from ...prepare import Step


def process(
    steps: Annotated[
        str,
        typer.Argument(
            metavar="STEP[,STEP...]", help="The steps, in order: denoise,smooth. A step may be the folder of a run."
        ),
    ],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...", help="Images, DICOM series, folders of them, or tables; fuse makes one of several."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write into.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting: fwhm=6, or smooth.fwhm=6.")
    ] = None,
    roi: Annotated[
        Path | None, typer.Option(help="A mask: values change inside alone; in a new unit, 0 outside.")
    ] = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Process images by exact steps, or by runs; each is written in its own format, on its own grid, in its type."""
    from ...inference.pipeline.joined_inputs import check_joining

    chain = parse_steps(steps, settings or [])
    made = make_steps(chain)
    inputs = [Path(path) for path in ([inputs] if isinstance(inputs, (str, Path)) else inputs)]
    out, roi = Path(out), None if roi is None else Path(roi)
    check_joining(made, inputs)
    for path in inputs:
        check_exists(path)
    if roi is not None:
        check_exists(roi)
    check_new_folder(out, *inputs)
    check_output_unused(out, "process.json", description="images that process wrote")

    from ...engine.progress import SilentProgress
    from ...inference.pipeline.process_images import process_all

    progress = progress or SilentProgress()
    entries, lone = find_entries(made, inputs)
    if lone:
        progress.say(f"No partner of the same name, so left out: {', '.join(map(str, lone))}")
    check_names_differ([next(iter(entry.images.values())).path.name for entry in entries])
    found = []
    with progress.bar("Processing") as bar:
        for number, one in enumerate(process_all(entries, made, out, roi=roi)):
            bar(number + 1, len(entries), "")
            if one.failure:
                progress.say(f"{one.source}: {one.failure}")
            found.append(one.as_dict())
    written = [one for one in found if "output" in one]
    if not written:
        raise MedgradError(f"No image could be processed: {found[0]['failure']}")
    done = [link | facts_of(step) for link, step in zip(chain, made, strict=True)]
    record = {"steps": done, "images": found, **({"left_out": [str(path) for path in lone]} if lone else {})}
    (out / "process.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    text = "\n".join(f"{describe_inputs(one)} -> {one['output']}" for one in written)
    return {"text": text, "record": str(out / "process.json"), **record}


def find_entries(steps: Sequence[Step], inputs: Sequence[Path]) -> tuple[list[Entry], list[Path]]:
    """Find what is processed, and the images of folders that lack a partner for a step that makes one of several."""
    from ...inference.pipeline.joined_inputs import join_inputs
    from ...inference.pipeline.process_images import find_process_inputs

    if any(step.joins_images for step in steps):
        return join_inputs(inputs)
    return [entry for path in inputs for entry in find_process_inputs(path)], []


def describe_inputs(one: Mapping[str, Any]) -> str:
    """Name the inputs of one output."""
    return " + ".join(each["input"] for each in one.get("inputs", [one]))


def check_names_differ(names: Sequence[str]) -> None:
    """Raise if two inputs would be written under one name."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SettingError(
            f"Two inputs are named {twice[0]!r}, and one would replace the other. Write into two folders."
        )


def parse_steps(steps: str, settings: Sequence[str]) -> list[dict[str, Any]]:
    """Parse the names of steps and their settings, or raise in one line that names the nearest.

    >>> parse_steps("smooth", ["fwhm=6"])
    [{'name': 'smooth', 'fwhm': 6}]
    >>> parse_steps("fill", ["slices=6"])
    [{'name': 'fill', 'slices': [6]}]
    """
    known = registry.names("prepare")
    chain: list[dict[str, Any]] = []
    for name in (word.strip() for word in steps.split(",")):
        is_run = name not in known and (Path(name) / "recipe.toml").is_file()
        if name not in known and not is_run:
            raise SettingError(
                f"A step is one of {', '.join(known)}, or the folder of a run, not {name!r}.{suggest_name(name, known)}"
            )
        chain.append({"run": name} if is_run else {"name": name})
    for text in settings:
        assign_setting(chain, text)
    return chain


def assign_setting(chain: list[dict[str, Any]], text: str) -> None:
    """Write ``NAME=VALUE`` or ``STEP.NAME=VALUE`` into the step that has such a setting."""
    name, is_set, value = text.partition("=")
    step, is_named, setting = name.strip().rpartition(".")
    if not is_set or not setting:
        raise SettingError(f"--set takes NAME=VALUE, such as --set fwhm=6, not {text!r}.")
    exact = [link for link in chain if "name" in link]
    takers = [
        link
        for link in exact
        if (not is_named or link["name"] == step)
        and setting in registry.keyword_defaults(registry.find("prepare", link["name"]))
    ]
    if len(takers) != 1:
        if takers:
            example = f"{takers[0]['name']}.{setting}={value}"
            raise SettingError(f"--set {text!r}: several steps have it. Say which, such as {example}.")
        names = [k for c in exact for k in registry.keyword_defaults(registry.find("prepare", c["name"]))]
        raise SettingError(
            f"--set {text!r}: no step has it; their settings are {', '.join(names)}.{suggest_name(setting, names)}"
        )
    parsed = parse_value(value.strip())
    is_list = isinstance(registry.keyword_defaults(registry.find("prepare", takers[0]["name"]))[setting], tuple)
    takers[0][setting] = [parsed] if is_list and not isinstance(parsed, list) else parsed


def make_steps(chain: Sequence[Mapping[str, Any]]) -> list[Step]:
    """Make the steps, or raise in one line that names the step that cannot be made."""
    from ...prepare import build_steps

    if any("run" in link for link in chain):
        from ...engine.evaluation.run_step import load_run_step
    made: list[Step] = []
    for link in chain:
        try:
            made += [load_run_step(link["run"])] if "run" in link else build_steps([link])
        except MedgradError:
            raise
        except (TypeError, ValueError) as reason:
            raise SettingError(f"The step {link['name']!r} cannot be made: {reason}") from None
    return made


def facts_of(step: Step) -> dict[str, Any]:
    """Give what the record says of a step beside its settings: of a run, the checksums of its weights."""
    weights = getattr(step, "weights_sha256", [])
    return {"weights_sha256": weights} if weights else {}


def parse_value(text: str) -> Any:
    """Give a number, true or false, or a list of numbers where the text is one, else the text.

    >>> parse_value("6"), parse_value("0.5"), parse_value("true"), parse_value("1,2"), parse_value("tv")
    (6, 0.5, True, [1, 2], 'tv')
    """
    if "," in text:
        return [parse_value(word.strip()) for word in text.split(",")]
    try:
        return json.loads(text)
    except ValueError:
        return text


THIS = process
