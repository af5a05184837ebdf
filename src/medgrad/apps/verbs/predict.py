"""``medgrad predict``: answers about new images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...engine.teller import Teller
from ._words import Device


def predict(
    run: Annotated[Path, typer.Argument(help="The run.")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A file, a DICOM series, or a folder of either.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the answers.")],
    kind: Annotated[str, typer.Option("--as", help="nifti, dicomseg, json, coco or sr, not as the input.")] = "",
    device: Device = None,
    teller: Teller | None = None,
) -> dict[str, Any]:
    """Answer about new images; each answer lies on its image's own grid, and comes in its format."""
    from ...engine.predict import in_short, inputs_of
    from ...engine.predict import predict as ask
    from ...engine.run import open_run
    from ...engine.teller import Silent
    from ...errors import MedgradError, SettingError

    source, out = Path(source), Path(out)
    if kind not in ("", "nifti", "dicomseg", "json", "coco", "sr"):
        raise SettingError(f"--as is nifti, dicomseg, json, coco or sr, not {kind!r}.")
    teller = teller or Silent()
    trained = open_run(run, device=device)
    total = len(inputs_of(source, trained.task.channels))
    answers, failed = [], []
    with teller.bar("Answering") as bar:
        for number, answered in enumerate(ask(trained, source, out, kind=kind)):
            bar(number + 1, total, "")
            if answered.failed:
                failed.append({"input": answered.source, "why": answered.failed})
                teller.say(f"{answered.source}: {answered.failed}")
                continue
            written = [str(p) for p in answered.written]
            answers.append({"input": answered.source, "written": written, "said": in_short(answered.said)})
    if not answers:
        raise MedgradError(f"No answer could be given: {failed[0]['why']}")
    text = "\n".join(f"{a['input']}: {a['said']} -> {', '.join(a['written'])}" for a in answers)
    return {"text": text, "answers": answers, "failed": failed}


THIS = predict
