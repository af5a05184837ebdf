"""The report page of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from .. import metrics
from ..version import VERSION
from . import answers
from . import provenance as sources
from .contours import pictures
from .curves import curves
from .diagnostics import health
from .figures import digits, forest, known, title
from .html import duration, number, plural, text
from .pruning import pruned
from .read import RunFiles, read_run

HEADLINES = ("dice/mean", "auroc", "map@0.5", "tre_mm", "balanced_accuracy", "accuracy", "f1", "hd95/mean", "nsd/mean")
SHOWN = {
    "segmentation": ("dice/mean", "hd95/mean", "nsd/mean"),
    "classification": ("auroc", "balanced_accuracy", "ece"),
    "detection": ("map@0.5", "map", "sensitivity@1fp"),
}
FEW_PATIENTS = 10
BROKEN = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


def write(run: Path | str) -> Path:
    """Write ``report.html`` into a run's folder, and return its path."""
    path = Path(run) / "report.html"
    path.write_text(page(read_run(run)), encoding="utf-8")
    return path


def page(found: RunFiles) -> str:
    """Build the report page of a run."""
    parts = sections(found)
    links = "".join(f'<li><a href="#{name}">{text(heading)}</a></li>' for name, heading, _ in parts)
    body = "".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{text(heading)}</h2>{inside}</section>'
        for name, heading, inside in parts
    )
    heading = headline(found)
    top = (
        f'{leak_banner(found)}<header><p class="kicker">{kicker(found)}</p><h1>{text(heading)}</h1>'
        f'<p class="verdict">{verdict(found)}</p>{cards(found)}{cautions(found)}</header>'
        f'<nav aria-label="Contents"><ul>{links}</ul></nav>'
    )
    return document(heading, top + body)


def document(heading: str, body: str) -> str:
    """Build a self-contained HTML document: no script, no font, no network."""
    style = files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:">'
        f"<title>{text(heading)}</title><style>\n{style}</style></head><body><main>{body}<footer>Made by medgrad "
        f"{text(VERSION)}. A model that was measured on one set of patients must be measured again before it is used "
        "on others; this page is no approval for clinical use.</footer></main></body></html>\n"
    )


def sections(found: RunFiles) -> list[tuple[str, str, str]]:
    """Return anchor, heading and content of every section that is not empty."""
    evaluation = found.evaluation
    figures = figures_of(found)
    makers: list[tuple[str, str, Callable[[], str]]] = [
        ("pruned", "What pruning did", lambda: pruned(found.pruned)),
        ("figures", "Figures", lambda: forest(figures, measured=is_measured(found))),
        ("cases", "Cases", lambda: cases_part(found)),
        ("pictures", "Best, middling and worst answers", lambda: pictures(found.pictures) if found.pictures else ""),
        ("confusion", "Confusion", lambda: answers.confusion(part) if (part := evaluation.get("confusion")) else ""),
        ("calibration", "Calibration", lambda: calibration_part(found)),
        ("failures", "Failures", lambda: answers.failures(found.cases) if found.cases else ""),
        ("data", "Data", lambda: sources.data(found.cohort) if found.cohort else ""),
        ("split", "Who was in which split", lambda: sources.split(found.cohort)),
        ("training", "Training", lambda: training(found)),
        ("health", "Health of the network", lambda: health(found.steps, found.run.get("healed", ()))),
        ("recipe", "Recipe", lambda: f"<pre>{text(found.recipe.strip())}</pre>" if found.recipe.strip() else ""),
        ("machine", "Versions and machine", lambda: sources.provenance(found.run)),
        ("terms", "How each number is defined", lambda: terms(found)),
        ("missing", "What could not be read", lambda: missing(found)),
    ]
    return [(name, heading, inside) for name, heading, make in makers if (inside := or_sentence(heading, make))]


def or_sentence(heading: str, make: Callable[[], str]) -> str:
    """Build a section, or one sentence where the run's files are not as expected."""
    try:
        return make()
    except BROKEN:
        why = "could not be drawn: a file of the run does not hold what a run writes."
        return f'<p class="soft">{text(heading)} {why}</p>'


def figures_of(found: RunFiles) -> Mapping[str, Any]:
    """Return the metrics of the evaluation by name."""
    figures = found.evaluation.get("metrics")
    return figures if isinstance(figures, Mapping) else {}


def is_measured(found: RunFiles) -> bool:
    """Tell whether the images had a spacing."""
    return not any(name.startswith("size_bias_px") for name in figures_of(found))


def main_figures(found: RunFiles) -> list[str]:
    """Choose the metrics for the top of the page: those of the task, else the first available."""
    figures = figures_of(found)
    wanted = [*SHOWN.get(task_of(found), ()), *HEADLINES]
    chosen = [n for n in dict.fromkeys(wanted) if n in figures and known(figures[n])["value"] is not None]
    return (chosen or [n for n in figures if known(figures[n])["value"] is not None])[:3]


def task_of(found: RunFiles) -> str:
    """Return the name of the run's task."""
    return str(found.evaluation.get("task") or found.cohort.get("task") or "")


def headline(found: RunFiles) -> str:
    """Return the page title: the task and its labels."""
    task, labels = task_of(found).capitalize() or "Run", found.cohort.get("labels")
    if not isinstance(labels, list) or not labels:
        return task
    if all(str(v).isdigit() for v in labels):
        return f"{task} of {plural(len(labels), 'class' if task == 'Classification' else 'label')}"
    return f"{task}: {', '.join(str(v) for v in labels[:6])}{', …' if len(labels) > 6 else ''}"


def kicker(found: RunFiles) -> str:
    """Return the line above the title: the run and its date."""
    when = str(found.run.get("finished") or found.run.get("started") or "")[:16].replace("T", " ")
    return " · ".join(text(p) for p in (f"Run {found.folder.resolve().name}", when) if p)


def verdict(found: RunFiles) -> str:
    """Return one sentence with the main result."""
    chosen = main_figures(found)
    if not chosen:
        return "This run has not been evaluated yet, so there are no figures."
    row = known(figures_of(found)[chosen[0]])
    value, low, high = (number(row[k], digits=digits(chosen[0])) for k in ("value", "low", "high"))
    interval = f" (95 % interval {low} to {high})" if row["low"] is not None else ""
    evaluation = found.evaluation
    side = sources.SIDES.get(str(evaluation.get("split") or ""), str(evaluation.get("split") or ""))
    patients, failed = evaluation.get("patients"), evaluation.get("failed")
    side = "" if side in ("no side", "all") else side
    of = f" on {patients} {side} patients".replace("  ", " ") if isinstance(patients, int) else ""
    name = f"{title(chosen[0].split('/')[0])}{' averaged over labels' if chosen[0].endswith('/mean') else ''}"
    unit = metrics.unit(chosen[0], measured=is_measured(found))
    ends = f" {plural(failed, 'case')} failed and counts as the worst." if failed and isinstance(failed, int) else ""
    ends = ends.replace("failed and counts", "failed and count") if isinstance(failed, int) and failed > 1 else ends
    return f"{text(name)} is <strong>{value}{f' {text(unit)}' if unit else ''}</strong>{interval}{text(of)}.{ends}"


def card(name: str, value: str, note: str, *, unit: str = "", kind: str = "") -> str:
    """Build a card with one key figure."""
    word = f' <span class="unit">{text(unit)}</span>' if unit else ""
    inside = f"<dt>{text(name)}</dt><dd>{value}{word}</dd><dd>{text(note)}</dd>"
    return f'<div class="card {kind}">{inside}</div>'


def cards(found: RunFiles) -> str:
    """Build the cards: main metrics, patients, failures, training time."""
    out = []
    figures = figures_of(found)
    for name in main_figures(found):
        row, d = known(figures[name]), digits(name)
        has = row["low"] is not None
        note = f"{number(row['low'], digits=d)} to {number(row['high'], digits=d)}" if has else "no interval"
        unit = metrics.unit(name, measured=is_measured(found))
        out.append(card(answers.label(name), number(row["value"], digits=d), note, unit=unit))
    evaluation = found.evaluation
    if isinstance(evaluation.get("patients"), int):
        cases, failed = evaluation.get("cases"), evaluation.get("failed")
        note = plural(cases, "case") if isinstance(cases, int) else ""
        lost = f", {failed} failed" if failed else ", none failed" if failed == 0 else ""
        out.append(card("Patients measured", str(evaluation["patients"]), note + lost, kind="bad" if failed else ""))
    if found.run.get("seconds"):
        steps = found.run.get("steps")
        note = f"{steps:,} steps" if isinstance(steps, int) else ""
        out.append(card("Training time", text(duration(found.run["seconds"], rough=True)), note))
    return f'<dl class="cards">{"".join(out)}</dl>' if out else ""


def leak_banner(found: RunFiles) -> str:
    """Return a red banner if a leak was allowed, or nothing."""
    if not found.cohort.get("allow_leak"):
        return ""
    look = found.cohort.get("look")
    look = look if isinstance(look, Mapping) else {}
    count = look.get("n_leaks") or len(sources.as_list(look.get("leaks")))
    what = f" {plural(count, 'leak was', 'leaks were')} found; see Data." if isinstance(count, int) and count else ""
    return (
        '<div class="banner bad" role="alert"><p><strong>A leak between the sides of the split was allowed.</strong> '
        "The same patient or the same image may have been trained on and measured, so the figures below are likely "
        f"to be better than they will be on new patients.{what}</p></div>"
    )


def cautions(found: RunFiles) -> str:
    """Return a banner of caveats about the figures."""
    evaluation, out = found.evaluation, []
    told = evaluation.get("told")
    if evaluation.get("split") == "val" and not told:
        out.append("Measured on validation cases, which also chose the model. Expect less on new patients.")
    if evaluation.get("split") == "train":
        out.append("Measured on the cases that were trained on. This says nothing about new patients.")
    patients = evaluation.get("patients")
    if isinstance(patients, int) and 0 < patients < FEW_PATIENTS:
        out.append(f"Only {plural(patients, 'patient')} stand behind the figures: the intervals are rough.")
    out += [str(t) for t in told] if isinstance(told, list) else []
    lines = "".join(f"<p>{text(t)}</p>" for t in out)
    return (
        f'<div class="banner care"><p><strong>Before you believe the figures</strong></p>{lines}</div>' if out else ""
    )


def cases_part(found: RunFiles) -> str:
    """Return the section of single cases: a plot of all and a table of the worst."""
    columns = {n for row in found.cases[:200] for n in row}
    if any(n.startswith("truth/") for n in columns):
        rows = answers.with_probability(found.cases)
        return answers.spread(rows, answers.TRUE) + answers.worst_cases(rows, [answers.TRUE], words=["truth"])
    names = [n for n in (*SHOWN.get(task_of(found), ()), *HEADLINES) if n in columns]
    names = list(dict.fromkeys(names))[:3]
    return answers.spread(found.cases, names[0]) + answers.worst_cases(found.cases, names) if names else ""


def calibration_part(found: RunFiles) -> str:
    """Return the calibration section, where the task has one."""
    part, fitted = found.evaluation.get("calibration"), found.run.get("calibration")
    if not isinstance(part, Mapping):
        return ""
    return answers.calibration({**(fitted if isinstance(fitted, Mapping) else {}), **part})


def training(found: RunFiles) -> str:
    """Return the training curves, with a note where there was no validation."""
    drawn = curves(found.steps)
    if drawn and not any("valid" in row for row in found.steps):
        drawn += '<p class="soft">No validation cases were set aside, so there is no curve on them.</p>'
    return drawn


def terms(found: RunFiles) -> str:
    """Return the definitions of the metrics on the page."""
    figures = figures_of(found)
    return sources.definitions(list(figures), split=str(found.evaluation.get("split") or "")) if figures else ""


def missing(found: RunFiles) -> str:
    """List the files that could not be read."""
    from .html import bullets

    notes: Sequence[str] = found.missed
    return bullets(list(notes))
